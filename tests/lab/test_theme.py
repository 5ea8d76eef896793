"""Colours are stated once, and a canvas paints with those that the style sheet shows."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page

from tests.lab.conftest import STATIC

TOKENS = (STATIC / "css" / "tokens.css").read_text(encoding="utf-8")
PAIRS = dict(re.findall(r"--rd-([\w-]+): light-dark\((#[0-9a-f]{6}, #[0-9a-f]{6})\);", TOKENS))
MODES = [
    ("light", None, 0),
    ("dark", None, 1),
    ("light", "dark", 1),
    ("dark", "light", 0),
]
# What a property of the style sheet comes to, and what a drawing is given for it.
READ = """async (names) => {
  const { channels, colours } = await import("./js/core/theme.js");
  const probe = document.querySelector(".rd-root").appendChild(document.createElement("i"));
  const drawn = colours(probe, names);
  return names.map((name) => {
    probe.style.color = `var(--rd-${name})`;
    const shown = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
    return [drawn[name], channels(drawn[name]), shown];
  });
}"""


def test_every_colour_is_written_once_for_light_and_dark() -> None:
    assert len(PAIRS) > 20
    names = re.findall(r"--rd-([\w-]+):", TOKENS)
    assert len(names) == len(set(names))
    assert set(names) - set(PAIRS) == {"radius", "mono"}


@pytest.mark.parametrize(("system", "chosen", "place"), MODES)
def test_a_drawing_has_the_colours_of_the_style_sheet(
    open_page: Callable[..., Page], system: str, chosen: str | None, place: int
) -> None:
    page = open_page("/#v=1&view=activations", color_scheme=system)
    if chosen is not None:
        page.evaluate("(name) => (document.documentElement.dataset.theme = name)", chosen)
    found = page.evaluate(READ, list(PAIRS))
    for (drawn, numbers, shown), pair in zip(found, PAIRS.values(), strict=True):
        assert drawn == pair.split(", ")[place]
        assert numbers == shown


@pytest.mark.parametrize("system", ["light", "dark"])
def test_the_line_of_an_arm_is_painted_in_its_colour(
    open_page: Callable[..., Page], system: str
) -> None:
    page = open_page("/#v=1&view=runs", color_scheme=system)
    page.locator(".rd-arm-line").first.wait_for()
    pixel = """async () => {
      await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
      const { channels, colours } = await import("./js/core/theme.js");
      return [...document.querySelectorAll(".rd-arm-line")].map((line, i) =>
        [[...line.getContext("2d").getImageData(1, 4, 1, 1).data.slice(0, 3)],
         channels(colours(line, [`arm-${i}`])[`arm-${i}`])]);
    }"""
    painted = page.evaluate(pixel)
    assert len(painted) == 4
    for shown, wanted in painted:
        assert shown == wanted
