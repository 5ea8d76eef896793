"""The attention panel in a real browser."""

import json
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect

from redrop import replay
from redrop.lab.sever import severing
from tests.lab.mask_hash import mask_hash
from tests.lab.test_model_js import shipped

ADDRESS = "/#v=1&view=attention"
TEXT = "The cat sat on the mat and it"


def table_of(page: Page) -> list[list[str]]:
    if page.locator("details").get_attribute("open") is None:
        page.get_by_text("Show as a table").click()
    expect(page.locator(".rd-table tbody tr").first).to_be_visible()
    return page.locator("table.rd-table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )


def python_weights(text: str, layer: int, head: int, name: str = "little-english") -> np.ndarray:
    model, tokenizer = shipped(name)
    before, _ = model.attention_weights(torch.tensor([tokenizer.encode(text)]), layer)
    return before[0, head].numpy()


def odds_of(page: Page) -> dict[str, list[str]]:
    expect(page.locator(".rd-odds-table tbody tr").first).to_be_visible()
    rows = page.locator(".rd-odds-table tbody tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    return {row[0]: row[1:] for row in rows}


def test_weights_are_those_of_pytorch(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    page.get_by_label("Layer 1, head 2").check(force=True)
    rows = table_of(page)
    assert [row[0] for row in rows] == ["The", "cat", "sat", "on", "the", "mat"]
    want = python_weights("The cat sat on the mat", 1, 2)
    for q, row in enumerate(rows):
        shown = [float(cell) for cell in row[1 : q + 2]]
        assert shown == pytest.approx(want[q, : q + 1].tolist(), abs=6e-4)
        assert set(row[q + 2 : -1]) <= {"hidden"}
        assert row[-1] == "1.000"


def test_dropout_is_the_mask_of_that_step_and_sample(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS + "&show=after&step=6&ap=0.3&layer=1&head=3&sample=2&seed=9")
    keep = replay(seed=9, step=6, site="blocks.1.attention.weights", p=0.3, shape=(3, 4, 6, 6))[
        2, 3
    ]
    want = python_weights("The cat sat on the mat", 1, 3)
    rows = table_of(page)
    for q, row in enumerate(rows):
        for k in range(q + 1):
            if keep[q, k]:
                assert float(row[k + 1]) == pytest.approx(want[q, k] / 0.7, abs=1e-3)
            else:
                assert row[k + 1] == "dropped"
        assert float(row[-1]) == pytest.approx((want[q] * keep[q]).sum() / 0.7, abs=2e-3)
    digest = mask_hash(keep)
    assert page.locator(".rd-hash-value").inner_text() == digest
    code = page.locator("pre code").inner_text()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split()[-1] == digest


def test_the_difference_is_after_minus_before(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS + "&show=after&ap=0.4")
    after = table_of(page)
    page.get_by_label("Without", exact=True).check(force=True)
    before = table_of(page)
    page.get_by_label("Difference").check(force=True)
    for b, a, d in zip(before, after, table_of(page), strict=True):
        for k in range(1, len(b)):
            if b[k] != "hidden":
                left = 0.0 if a[k] == "dropped" else float(a[k])
                got = float(d[k].replace("−", "-"))
                assert got == pytest.approx(left - float(b[k]), abs=2e-3)


def test_stepping_changes_the_mask_and_stepping_back_restores_it(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(ADDRESS + "&show=after")
    first = table_of(page)
    page.get_by_role("button", name="Next").click()
    assert table_of(page) != first
    page.get_by_role("button", name="Previous step").click()
    assert table_of(page) == first
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_label("Training step")).not_to_have_value("0")
    page.get_by_role("button", name="Pause").click()


def test_a_cell_is_read_with_the_pointer_and_the_keyboard(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS + "&text=Your+journey+starts&show=after&ap=1")
    figure = page.get_by_role("application")
    figure.focus()
    for key in ("Home", "ArrowUp"):
        page.keyboard.press(key)
    weight = python_weights("Your journey starts", 0, 0)[1, 0]
    reading = page.locator(".rd-reading")
    expect(reading).to_contain_text(f"“journey” → “Your”: {weight:.3f} → 0.000, dropped")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(reading).to_contain_text("hidden by causality")
    page.keyboard.press("Escape")
    expect(reading).to_contain_text("Point at a cell")
    box = page.locator(".rd-heatmap canvas").bounding_box()
    assert box
    page.mouse.move(box["x"] + 100, box["y"] + 26 + 84 * 1.5)
    expect(reading).to_contain_text("“journey” → “Your”")


def test_severing_changes_the_prediction_as_in_pytorch(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS + f"&text={TEXT.replace(' ', '+')}&layer=0&head=1")
    assert odds_of(page)["purred"][0] in ("99 %", "100 %")
    figure = page.get_by_role("application")
    figure.focus()
    for key in ("Home", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    page.get_by_label("Layer 1, head 0").check(force=True)
    figure.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Severed: 2.")).to_be_visible()
    model, tokenizer = shipped("little-english")

    def sever(layer: int, weights: torch.Tensor) -> torch.Tensor:
        weights[0, 1 - layer, 7, 1] = 0  # layer 0, head 1 and layer 1, head 0: "it" -> "cat"
        return weights

    with severing(model, sever):
        odds = model(torch.tensor([tokenizer.encode(TEXT)]))[0, -1].softmax(-1)
    for word, shares in odds_of(page).items():
        share = 100 * float(odds[tokenizer.words.index(word)])
        assert shares[-1] == "< 0.1 %" or float(shares[-1].split()[0]) == pytest.approx(
            share, abs=0.6
        )
    page.get_by_role("button", name="Restore all").click()
    expect(page.get_by_text("No connection severed")).to_be_visible()
    assert len(odds_of(page)["purred"]) == 1


def test_a_click_severs_and_a_second_click_restores(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    canvas = page.locator(".rd-heatmap canvas")
    expect(page.get_by_text("No connection severed")).to_be_visible()
    box = canvas.bounding_box()
    assert box
    spot = {"x": 80, "y": box["height"] - 30}
    canvas.click(position=spot)
    expect(page.get_by_text("Severed: 1.")).to_be_visible()
    canvas.click(position=spot)
    expect(page.get_by_text("No connection severed")).to_be_visible()


def test_own_sentences_strange_words_and_none(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    sentence = page.get_by_role("textbox", name="Sentence")
    sentence.fill("The xyzzy cat sat")
    expect(page.get_by_text("read as an unknown word: xyzzy")).to_be_visible()
    assert [row[0] for row in table_of(page)] == ["The", "xyzzy", "cat", "sat"]
    sentence.fill("")
    expect(page.get_by_text("Type a sentence")).to_be_visible()
    sentence.fill("the cat " * 20)
    expect(page.get_by_text("The model reads 24 tokens")).to_be_visible()
    assert len(table_of(page)) == 24
    page.get_by_label("Example sentences").select_option("A dog sat")
    assert [row[0] for row in table_of(page)] == ["A", "dog", "sat"]


def test_the_other_model_has_other_weights(open_page: Callable[..., Page]) -> None:
    page = open_page(ADDRESS)
    page.get_by_label("Model").select_option("little-english-dropout")
    expect(page.get_by_text("Trained with attention dropout p = 0.2, seed 0")).to_be_visible()
    want = python_weights("The cat sat on the mat", 0, 0, "little-english-dropout")
    assert float(table_of(page)[1][1]) == pytest.approx(want[1, 0], abs=6e-4)


def test_sixty_frames_a_second_at_256_tokens(open_page: Callable[..., Page]) -> None:
    """Mask and colours of 256 x 256 weights, as often as a slider moves."""
    page = open_page(ADDRESS)
    times = page.evaluate(
        """async () => {
          const { signal, computed } = await import("/vendor/signals-core.js");
          const { heatmap } = await import("/js/panels/heatmap.js");
          const { keepMask } = await import("/js/core/mask.js");
          const { scope } = await import("/js/core/dom.js");
          const n = 256, one = (_, i) => (i * 7 % 100) / 100;
          const values = Float32Array.from({ length: n * n }, one);
          const labels = Array.from({ length: n }, (_, i) => "w" + i), p = signal(0.1);
          const matrix = computed(() => {
            const keep = keepMask(99n, p.value, [1, 1, n, n]);
            const sums = new Float64Array(n);
            for (let i = 0; i < n * n; i++) sums[(i / n) | 0] += values[i] * keep[i];
            const marks = { isDifference: false, cuts: [], over: [] };
            return { length: n, labels, values, keep, sums, ...marks };
          });
          const { root } = scope(() => heatmap(matrix, signal(null), () => {}));
          root.style.width = "700px";
          document.querySelector("main").prepend(root);
          await new Promise((done) => setTimeout(done, 100));
          const times = [];
          for (let i = 0; i < 60; i++) {
            const start = performance.now();
            p.value = 0.1 + i / 100;
            times.push(performance.now() - start);
            await new Promise(requestAnimationFrame);
          }
          return times;
        }"""
    )
    times.sort()
    assert times[30] < 1000 / 60, json.dumps(times)
