"""The activations panel in a real browser."""

import subprocess
import sys
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from redrop import replay
from tests.lab.mask_hash import mask_hash

ADDRESS = "/#v=1&view=activations"


def hash_of(page: Page) -> str:
    return page.locator(".rd-hash-value").inner_text()


def python_hash(seed: int, step: int, p: float, size: int) -> str:
    keep = replay(seed=seed, step=step, site="Dropout", p=p, shape=(size,))
    return mask_hash(keep)


def table_of(page: Page) -> list[list[str]]:
    if page.locator("details").get_attribute("open") is None:
        page.get_by_text("Show as a table").click()
    expect(page.locator(".rd-table tbody tr").first).to_be_visible()
    return page.locator(".rd-table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )


def test_resampling_is_the_next_step_and_has_the_mask_of_python(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(ADDRESS)
    assert hash_of(page) == python_hash(0, 0, 0.5, 10)
    page.get_by_role("button", name="Resample").click()
    page.get_by_role("button", name="Resample").click()
    assert hash_of(page) == python_hash(0, 2, 0.5, 10)
    page.get_by_role("button", name="Previous step").click()
    assert hash_of(page) == python_hash(0, 1, 0.5, 10)
    page.get_by_label("Seed").fill("0xffffffffffffffff")
    page.get_by_label("Seed").press("Enter")
    expect(page.get_by_label("Seed")).to_have_value(str(2**64 - 1))
    assert hash_of(page) == python_hash(2**64 - 1, 1, 0.5, 10)


def test_survivors_grow_and_the_table_says_so(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    keep = replay(seed=0, step=0, site="Dropout", p=0.5, shape=(10,))
    rows = table_of(page)
    assert [row[2] == "kept" for row in rows] == keep.tolist()
    for _, before, mask, after in rows:
        assert float(after) == pytest.approx(2 * float(before) if mask == "kept" else 0)


def test_the_slider_only_nests_the_mask(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    slider = page.get_by_label("p, the probability of dropping", exact=True)
    kept_before = set(range(10))
    for p in (0, 0.2, 0.4, 0.6, 0.8, 1):
        slider.fill(str(p))
        kept = {int(row[0]) for row in table_of(page) if row[2] == "kept"}
        assert kept <= kept_before
        kept_before = kept
    assert kept_before == set()
    slider.fill("0.5")
    assert hash_of(page) == python_hash(0, 0, 0.5, 10)


def test_eval_and_back_leaves_the_mask_alone(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    before, rows = hash_of(page), table_of(page)
    page.get_by_label("Eval").check(force=True)
    assert all(row[1] == row[3] for row in table_of(page))
    assert hash_of(page) == before
    page.get_by_label("Train").check(force=True)
    assert table_of(page) == rows


def test_values_and_their_number_can_be_edited(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    values = page.get_by_label("Values x")
    values.fill("1, -2.5; 3  4")
    values.press("Enter")
    assert [row[1] for row in table_of(page)] == ["1.000", "−2.500", "3.000", "4.000"]
    page.get_by_label("How many").fill("256")
    page.get_by_label("How many").press("Enter")
    assert len(table_of(page)) == 256
    assert hash_of(page) == python_hash(0, 0, 0.5, 256)
    values.fill("1, two")
    values.press("Enter")
    assert len(table_of(page)) == 256, "nonsense changes nothing"


def test_bars_are_edited_with_the_keyboard_and_the_pointer(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    figure = page.get_by_role("application")
    figure.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    expect(page.locator(".rd-reading")).to_contain_text("x[1] = 0.400")
    box = figure.bounding_box()
    assert box
    page.mouse.move(box["x"] + 80, box["y"] + 150)
    page.mouse.down()
    page.mouse.move(box["x"] + 80, box["y"] + 60, steps=4)
    page.mouse.up()
    assert float(table_of(page)[0][1]) > 1


def test_mean_of_many_masks_is_the_mean_before(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS + "&p=0.3")
    text = page.get_by_text("Steps 0 to").inner_text()
    measured = float(text.split("mean ")[1].split(",")[0])
    assert measured == pytest.approx(0.7, abs=0.02)
    sds = [float(part.split()[0].rstrip(".")) for part in text.split("standard deviation ")[1:2]]
    assert sds[0] == pytest.approx((0.3 / 0.7 * 5.8) ** 0.5 / 10, rel=0.1)
    page.get_by_label("p, the probability of dropping", exact=True).fill("1")
    expect(page.get_by_text("At p = 1 nothing is left")).to_be_visible()


def test_the_snippet_prints_what_the_page_shows(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS + "&p=0.25&step=12&seed=77&x=1,2,3,4,5.5,6,7,8,9,-10,11,12")
    code = page.locator("pre code").inner_text()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    *_, digest = done.stdout.split()
    assert digest == hash_of(page)
    after = [float(row[3].replace("−", "-")) for row in table_of(page)]
    printed = done.stdout.split("tensor([")[1].split("])")[0].split(",")
    assert [float(value) for value in printed] == pytest.approx(after, abs=5e-4)


def test_a_row_of_the_history_goes_to_its_step(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    canvas = page.locator("canvas.rd-clickable")
    canvas.click(position={"x": 100, "y": 5 * 16 + 8})
    assert hash_of(page) == python_hash(0, 5, 0.5, 10)


def test_play_and_pause(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_label("Step (a new mask each)")).not_to_have_value("0")
    page.get_by_role("button", name="Pause").click()
    step = page.get_by_label("Step (a new mask each)").input_value()
    page.wait_for_timeout(900)
    expect(page.get_by_label("Step (a new mask each)")).to_have_value(step)
