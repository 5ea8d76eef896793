"""Units of losses, and metrics beside the loss, in what the page is told and in the runs view."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from redrop.lab.studies import study_payload
from redrop.report.series import difference_series
from redrop.study.records import read_study
from redrop.study.schema import StudyPlan
from tests.lab.conftest import STATIC, LiveServer
from tests.study.synthetic import everywhere, make_events, make_plan, write_run, write_study

RUNS = "/#v=1&view=runs"


def plan_in(unit: str, **changes: Any) -> StudyPlan:
    plan = make_plan(seeds=(0, 1, 2), margin=0.02)
    settings = {**plan.settings, "data": {**plan.settings["data"], "unit": unit}}
    return replace(plan, settings=settings, **changes)


def test_metrics_are_columns_beside_the_losses(tmp_path: Path) -> None:
    folder = write_study(tmp_path / "s", plan_in("nats"))
    payload = study_payload("s", folder, {}, "")
    assert payload["metrics"] == ["accuracy"]
    assert (payload["plan"]["unit"], payload["plan"]["short_unit"]) == ("nats", "nats")
    study = read_study(folder)
    for told in payload["runs"]:
        run = study.of_arm(told["arm"])[told["seed"]]
        recorded = [line.validation_metrics["accuracy"] for line in run.evals]
        assert told["evals"]["accuracy"] == recorded
    wanted = difference_series(study, "all-0.1", lambda line: line.validation_metrics["accuracy"])
    assert wanted
    told = next(one for one in payload["differences"]["accuracy"] if one["arm"] == "all-0.1")
    assert (told["mean"], told["spread"]) == (list(wanted.mean), list(wanted.spread or ()))


@pytest.mark.parametrize("value", [None, True, "0.5"])
def test_what_is_no_number_is_no_value(tmp_path: Path, value: object) -> None:
    plan = plan_in("nats")
    folder = write_study(tmp_path / "s", plan)
    for file in (folder / "runs").iterdir():
        file.unlink()
    events = make_events(plan.arms[0].dropout, 0)[:3]
    events[1]["validation_metrics"] = {"accuracy": value, "gap": 9.0, "step": 9.0}
    write_run(folder, plan, "none", 0, events)
    payload = study_payload("s", folder, {}, "")
    (run,) = payload["runs"]
    assert run["evals"]["accuracy"][1] is None
    assert payload["metrics"] == ["accuracy"], "no metric takes the place of a loss or of the step"
    assert run["evals"]["gap"] == [
        event["validation_loss"] - event["train_eval_loss"] for event in events
    ]


def test_a_metric_that_comes_late_is_joined_to_what_was_here(node: Callable[..., Any]) -> None:
    run = {"id": "a", "first": 0, "evals": {"step": [1, 2], "gap": [0.1, 0.2]}}
    more = {"id": "a", "first": 2, "evals": {"step": [3], "gap": [0.3], "accuracy": [0.9]}}
    body = (
        f"import {{ merge }} from '{STATIC}/js/core/studies.js';\n"
        "give(merge({ runs: [input[0]] }, { runs: [input[1]] }).runs[0].evals);"
    )
    assert node(body, [run, more]) == {
        "step": [1, 2, 3],
        "gap": [0.1, 0.2, 0.3],
        "accuracy": [None, None, 0.9],
    }


def test_unit_margin_and_direction_are_told_right(
    open_page: Callable[..., Page], live: Callable[..., LiveServer], tmp_path: Path
) -> None:
    folder = write_study(tmp_path / "s", plan_in("squared standard deviations"))
    page = open_page(RUNS, base=live(folder=tmp_path).url(""))
    expect(page.get_by_text("Validation loss in eval mode, squared standard")).to_be_visible()
    expect(page.get_by_text("the margin of 0.02 sd² that was fixed")).to_be_visible()
    expect(page.get_by_text("Below zero is better")).to_be_visible()
    page.get_by_label("Accuracy").check(force=True)
    expect(page.get_by_text("Above zero is better")).to_be_visible()
    expect(page.get_by_text("that was fixed beforehand")).to_be_hidden()
    expect(page.get_by_label("Validation", exact=True)).not_to_be_checked()
    study = read_study(folder)
    wanted = difference_series(study, "all-0.2", lambda line: line.validation_metrics["accuracy"])
    assert wanted
    assert wanted.spread
    page.get_by_role("application").nth(1).focus()
    for key in ("Home", *["ArrowRight"] * 5):
        page.keyboard.press(key)
    shown = page.locator(".rd-reading").nth(1).inner_text().replace("−", "-")
    assert f"all-0.2 {wanted.mean[5]:+.3f} ± {wanted.spread[5]:.3f}" in shown
    page.wait_for_timeout(250)
    assert "metric=accuracy" in page.evaluate("location.hash")


def test_a_step_leads_to_the_masks_of_the_site_that_drops(
    open_page: Callable[..., Page], live: Callable[..., LiveServer], tmp_path: Path
) -> None:
    arms = {"none": everywhere(0.0), "mine": {**everywhere(0.0), "feed_forward_residual": 0.4}}
    write_study(tmp_path / "s", make_plan(arms, seeds=(7,)))
    page = open_page(RUNS, base=live(folder=tmp_path).url(""))
    page.get_by_role("application").first.focus()
    for key in ("Home", "ArrowRight", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("main h2")).to_have_text("Block")
    chosen = page.get_by_role("button", name="Dropout site Feed-forward output, p = 0.4")
    expect(chosen).to_have_attribute("aria-pressed", "true")
    expect(
        page.get_by_role("button", name="Dropout site Embedding, p = 0", exact=True)
    ).to_be_visible()
    expect(page.get_by_label("Step", exact=True)).to_have_value("100")
    expect(page.get_by_label("Seed")).to_have_value("7")


@pytest.mark.parametrize("metric", ["rmse", "constructor", "no-such"])
def test_a_metric_that_the_study_has_not_is_its_validation_loss(
    open_page: Callable[..., Page], metric: str
) -> None:
    page = open_page(f"{RUNS}&metric={metric}")
    expect(page.get_by_label("Validation", exact=True)).to_be_checked()
    expect(page.get_by_text("Validation loss in eval mode, nats per token.")).to_be_visible()
