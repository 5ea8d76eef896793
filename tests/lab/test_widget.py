"""The notebook module in Chromium, hosted as anywidget hosts it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from redrop.lab.models import embedded_models
from redrop.lab.widget import module, style, to_hash

HOST = """async ({ esm, css, traits }) => {
  const sheet = document.createElement("style");
  sheet.textContent = css;
  document.head.append(sheet);
  const handlers = {};
  window.model = {
    get: (name) => traits[name], set: (name, value) => { traits[name] = value; },
    save_changes: () => { window.saved = { ...traits }; },
    on: (name, f) => { handlers[name] = f; }, off: (name) => { delete handlers[name]; },
    change: (name, value) => { traits[name] = value; handlers["change:" + name](); },
  };
  const url = URL.createObjectURL(new Blob([esm], { type: "text/javascript" }));
  const widget = (await import(url)).default;
  const el = document.createElement("div");
  document.body.append(el);
  window.end = await widget.render({ model: window.model, el });
}"""


def host(page: Page, view: str, hash_: str = "") -> None:
    import json

    models = json.dumps(embedded_models()) if view == "attention" else "[]"
    traits = {"view": view, "hash": hash_, "_models": models}
    page.evaluate(HOST, {"esm": module(), "css": style(), "traits": traits})


@pytest.fixture
def cell(open_page: Callable[..., Page], tmp_path: Path) -> Page:
    (tmp_path / "cell.html").write_text("<!doctype html><title>cell</title>", encoding="utf-8")
    return open_page("", base=(tmp_path / "cell.html").as_uri())


def test_a_panel_and_python_share_their_state(cell: Page) -> None:
    host(cell, "activations", to_hash({"p": 0.3, "step": 2}))
    expect(cell.get_by_label("Step (a new mask each)")).to_have_value("2")
    cell.get_by_role("button", name="Resample").click()
    assert "step=3" in cell.evaluate("window.saved.hash")
    cell.evaluate("window.model.change('hash', '#v=1&p=0.9')")
    expect(cell.get_by_label("Step (a new mask each)")).to_have_value("0")
    expect(cell.get_by_label("p, the probability of dropping", exact=True)).to_have_value("0.9")


def test_attention_computes_in_the_cell(cell: Page) -> None:
    host(cell, "attention", to_hash({"text": "The cat sat on the mat and it"}))
    expect(cell.locator(".rd-odds-table")).to_contain_text("purred")


def test_two_cells_do_not_disturb_each_other_and_one_can_end(cell: Page) -> None:
    host(cell, "activations")
    host(cell, "block")
    expect(cell.locator(".rd-widget")).to_have_count(2)
    ids = cell.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    cell.evaluate("window.end()")
    expect(cell.locator(".rd-widget")).to_have_count(1)
