"""The runs panel in a real browser, with finished and growing studies."""

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect

from redrop.report.series import QUANTITIES, arm_series, difference_series
from redrop.study.records import read_study
from tests.lab.conftest import LiveServer
from tests.study.synthetic import make_events, make_plan, write_run, write_study

ADDRESS = "/#v=1&view=runs"


def readings(page: Page) -> list[str]:
    return page.locator(".rd-reading:visible").all_inner_texts()


def read_step(page: Page, chart: int, presses: int) -> str:
    page.get_by_role("application").nth(chart).focus()
    for key in ["Home", *["ArrowRight"] * presses]:
        page.keyboard.press(key)
    return page.locator(".rd-reading").nth(chart).inner_text()


def test_means_and_differences_are_those_of_the_report(
    open_page: Callable[..., Page], studies: Path
) -> None:
    page = open_page(ADDRESS)
    expect(page.get_by_text("12 of 12 runs complete")).to_be_visible()
    study = read_study(studies / "studies" / "finished")
    mean = arm_series(study, "all-0.1", QUANTITIES["validation_loss"])
    assert mean
    assert mean.spread
    text = read_step(page, 0, 10)
    assert text.startswith(f"Step {mean.steps[10]}")
    assert f"all-0.1 {mean.mean[10]:.3f} ± {mean.spread[10]:.3f}" in text
    difference = difference_series(study, "all-0.2", QUANTITIES["validation_loss"])
    assert difference
    assert difference.spread
    shown = read_step(page, 1, 20).replace("−", "-")
    assert f"all-0.2 {difference.mean[20]:+.3f} ± {difference.spread[20]:.3f}" in shown


def test_another_curve_and_fewer_arms(open_page: Callable[..., Page], studies: Path) -> None:
    page = open_page(ADDRESS)
    expect(page.get_by_text("12 of 12 runs complete")).to_be_visible()
    page.get_by_label("Gap").check(force=True)
    study = read_study(studies / "studies" / "finished")
    gap = arm_series(study, "none", QUANTITIES["gap"])
    assert gap
    assert f"none {gap.mean[10]:.3f}" in read_step(page, 0, 10)
    pixels = "document.querySelector('.uplot canvas').toDataURL()"
    before = page.evaluate(pixels)
    page.get_by_role("checkbox").first.uncheck()
    assert "none" not in read_step(page, 0, 10)
    assert page.evaluate(pixels) != before
    page.wait_for_timeout(250)
    assert "hidden=none" in page.evaluate("location.hash")
    page.get_by_role("checkbox").first.check()
    assert "none" in read_step(page, 0, 10)


def test_a_click_goes_to_the_masks_of_that_step(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS + "&hidden=none,all-0.1,all-0.2")
    text = read_step(page, 0, 6)
    step = re.sub(r"\D", "", text.split(":")[0])
    page.keyboard.press("Enter")
    expect(page.locator("main h2")).to_have_text("Attention")
    expect(page.get_by_label("Training step")).to_have_value(step)
    expect(page.get_by_label("p, the probability of dropping", exact=True)).to_have_value("0.2")
    page.get_by_role("link", name="Runs").click()
    page.locator(".u-over").first.click(position={"x": 300, "y": 100})
    expect(page.locator("main h2")).to_have_text("Attention")


def test_curves_grow_while_a_run_is_recorded(
    open_page: Callable[..., Page], live: Callable[..., LiveServer], tmp_path: Path
) -> None:
    plan = make_plan(seeds=(0,))
    folder = write_study(tmp_path / "growing", plan)
    for file in (folder / "runs").iterdir():
        file.unlink()
    events = make_events(plan.arms[0].dropout, 0)
    write_run(folder, plan, "none", 0, events[:3])
    page = open_page(ADDRESS, base=live(folder=tmp_path).url(""))
    expect(page.get_by_text("1 under way or interrupted")).to_be_visible()
    page.get_by_text("Show as a table").click()
    rows = page.locator(".rd-table tbody tr")
    expect(rows).to_have_count(3)
    write_run(folder, plan, "none", 0, events[:7])
    expect(rows).to_have_count(7)
    assert rows.nth(6).locator("td").inner_text() == f"{events[6]['validation_loss']:.4f}"
    write_run(folder, plan, "none", 0, events)
    expect(page.get_by_text("1 of 4 runs complete")).to_be_visible()


def test_no_study_says_what_to_do(
    open_page: Callable[..., Page], live: Callable[..., LiveServer], tmp_path: Path
) -> None:
    page = open_page(ADDRESS, base=live(folder=tmp_path).url(""))
    expect(page.get_by_text("No study in this folder yet")).to_be_visible()
    write_study(tmp_path / "new", make_plan(seeds=(0,)))
    expect(page.get_by_text("4 of 4 runs complete")).to_be_visible()


def test_a_study_is_chosen(
    open_page: Callable[..., Page], live: Callable[..., LiveServer], tmp_path: Path
) -> None:
    write_study(tmp_path / "a", make_plan(seeds=(0,)))
    write_study(tmp_path / "b", make_plan(seeds=(0, 1)))
    page = open_page(ADDRESS + "&study=a", base=live(folder=tmp_path).url(""))
    expect(page.get_by_text("4 of 4 runs complete")).to_be_visible()
    page.get_by_label("Study").select_option("b")
    expect(page.get_by_text("8 of 8 runs complete")).to_be_visible()
