"""What every arm lost on each amount, against the records read by other means."""

import json
import statistics
from dataclasses import replace

import pytest

from redrop.report.map_losses import map_losses
from redrop.study.folders import read_map_folder
from redrop.study.records import Study
from tests.report.protocol_folder import write_map

CHANGES = {2_000: -0.05, 32_000: 0.01}


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> list[Study]:
    folder = write_map(tmp_path_factory.mktemp("map"), CHANGES)
    return [point.study for point in read_map_folder(folder)]


def recorded(study: Study, arm: str, field: str) -> list[float]:
    ends = []
    for path in (study.folder / "runs").glob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        ends += [lines[-1][field]] if lines[0]["arm"] == arm else []
    return ends


def test_losses_are_the_means_of_the_records(studies: list[Study]) -> None:
    found = map_losses(studies)
    assert found.title == "Mean test loss"
    for study, row in zip(studies, found.losses, strict=True):
        for arm, summary in zip(study.plan.arms, row, strict=True):
            losses = recorded(study, arm.name, "test_loss_best")
            assert summary is not None
            assert summary.mean == pytest.approx(statistics.fmean(losses))
            assert summary.sd == pytest.approx(statistics.stdev(losses))


def test_what_is_known_to_be_the_least_is_taken_off(studies: list[Study]) -> None:
    def known(study: Study) -> Study:
        data = {**study.plan.settings["data"], "bayes_loss": 1.5, "opening_loss": 1.5}
        return replace(
            study, plan=replace(study.plan, settings={**study.plan.settings, "data": data})
        )

    plain, excess = map_losses(studies), map_losses([known(study) for study in studies])
    assert excess.title == "Mean excess of test loss over the least possible"
    for before, after in zip(plain.losses, excess.losses, strict=True):
        for one, other in zip(before, after, strict=True):
            assert one is not None
            assert other is not None
            assert other.mean == pytest.approx(one.mean - 1.5)
            assert other.sd == pytest.approx(one.sd)
    # Known for one study and not for the other, the two could not be set side by side.
    assert map_losses([known(studies[0]), studies[1]]).title == "Mean test loss"


def test_without_test_data_it_is_validation_loss(studies: list[Study]) -> None:
    def blind(study: Study) -> Study:
        runs = [
            replace(run, end=run.end and replace(run.end, test_loss_best=None))
            for run in study.runs
        ]
        return replace(study, runs=tuple(runs))

    found = map_losses([blind(study) for study in studies])
    assert found.title == "Mean validation loss"
    arm = studies[0].plan.arms[0].name
    summary = found.losses[0][0]
    assert summary is not None
    assert summary.mean == pytest.approx(
        statistics.fmean(recorded(studies[0], arm, "best_validation_loss"))
    )


def test_an_arm_without_a_loss_has_a_dash(studies: list[Study]) -> None:
    baseline = studies[0].plan.arms[0].name
    without = replace(
        studies[0], runs=tuple(run for run in studies[0].runs if run.header.arm != baseline)
    )
    assert map_losses([without]).cells(["2,000 tokens"])[0][:2] == ["2,000 tokens", "–"]
