from pathlib import Path
from typing import Any

import pytest

from redrop.report.series import QUANTITIES, arm_series, difference_series
from redrop.study.records import Study, read_study, write_atomically
from redrop.study.statistics import paired_interval, summarize
from tests.study.synthetic import ARMS, end_event, make_events, make_plan, write_run

VALIDATION = QUANTITIES["validation_loss"]


def study_of(folder: Path, curves: dict[str, list[dict[int, float | None]]], **end: Any) -> Study:
    """Write a study whose validation losses are given per arm and seed as step -> loss."""
    seeds = range(len(next(iter(curves.values()))))
    plan = make_plan({arm: ARMS[arm] for arm in curves}, seeds=seeds)
    write_atomically(folder / "study.json", plan.to_json())
    line = make_events({}, 0)[0]
    for arm, losses in curves.items():
        for seed, curve in enumerate(losses):
            events = [
                {**line, "step": step, "validation_loss": loss, "train_eval_loss": 1.0}
                for step, loss in curve.items()
            ]
            finite = [loss for loss in curve.values() if loss is not None]
            status = "done" if len(finite) == len(curve) else "diverged"
            events.append(end_event(min(finite), status=status, **end))
            write_run(folder, plan, arm, seed, events)
    return read_study(folder)


def test_mean_and_spread_over_seeds(tmp_path: Path) -> None:
    curves = {"none": [{10: 3.0, 20: 2.0}, {10: 3.5, 20: 2.25}]}
    series = arm_series(study_of(tmp_path, curves), "none", VALIDATION)
    assert series is not None
    assert series.steps == (10, 20)
    assert series.mean == (3.25, 2.125)
    expected = summarize([3.0, 3.5])
    assert expected is not None
    assert series.spread is not None
    assert series.spread[0] == expected.sd
    assert series.seeds[1] == ((10, 20), (3.5, 2.25))


def test_the_mean_stands_only_where_every_seed_has_a_value(tmp_path: Path) -> None:
    curves = {"none": [{10: 3.0, 20: 2.0}, {10: 3.0, 20: 2.0, 30: 1.0}]}
    series = arm_series(study_of(tmp_path, curves), "none", VALIDATION)
    assert series is not None
    assert series.steps == (10, 20)
    assert series.seeds[1][0] == (10, 20, 30)


def test_a_diverged_seed_has_no_part_in_the_mean(tmp_path: Path) -> None:
    curves = {
        "none": [{10: 3.0, 20: 2.0}, {10: 90.0, 20: None}],
        "all-0.2": [{10: 2.0, 20: 1.0}] * 2,
    }
    study = study_of(tmp_path, curves)
    series = arm_series(study, "none", VALIDATION)
    assert series is not None
    assert (series.mean, series.spread, series.diverged) == ((3.0, 2.0), None, (1,))
    assert series.seeds[1] == ((10,), (90.0,))
    difference = difference_series(study, "all-0.2", VALIDATION)
    assert difference is not None
    assert list(difference.seeds) == [0]


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    series = arm_series(study_of(tmp_path, {"none": [{10: 3.0}]}), "none", VALIDATION)
    assert series is not None
    assert series.spread is None
    assert series.to_dict()["spread"] is None


def test_an_arm_without_a_complete_run_has_no_series(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"none": [{10: 3.0}], "all-0.2": [{10: 2.0}]})
    for path in (tmp_path / "runs").glob("all-0.2-*"):
        path.unlink()
    study = read_study(tmp_path)
    assert arm_series(study, "all-0.2", VALIDATION) is None
    assert difference_series(study, "all-0.2", VALIDATION) is None


def test_differences_are_paired_by_seed_and_widened_for_the_arms(tmp_path: Path) -> None:
    losses = {"none": [3.0, 2.0, 4.0], "all-0.1": [2.5, 1.6, 3.4], "all-0.2": [2.0, 1.5, 3.0]}
    curves: dict[str, list[dict[int, float | None]]] = {
        arm: [{10: loss} for loss in each] for arm, each in losses.items()
    }
    series = difference_series(study_of(tmp_path, curves), "all-0.1", VALIDATION)
    assert series is not None
    expected = paired_interval([-0.5, -0.4, -0.6], tests=2)
    assert expected is not None
    assert series.mean[0] == pytest.approx(-0.5)
    assert series.spread is not None
    assert series.spread[0] == pytest.approx(expected.half_width)


def test_the_gap_is_validation_minus_training_in_eval_mode(tmp_path: Path) -> None:
    study = study_of(tmp_path, {"none": [{10: 3.0}]})
    series = arm_series(study, "none", QUANTITIES["gap"])
    assert series is not None
    assert series.mean == (2.0,)
