"""What holds on every view: address, keyboard, screen reader, colours, motion, narrow screens."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

AXE = (Path(__file__).parent / "vendor" / "axe.min.js").read_text(encoding="utf-8")
VIEWS = ("story", "activations", "attention", "runs", "block")
# Radio buttons of one group are one stop.
TAB_STOPS = """() => new Set([...document.querySelectorAll("a[href], button:not(:disabled), input, "
  + "select, summary, [tabindex='0']")].filter((e) => e.checkVisibility())
  .map((e) => e.type === "radio" ? e.name : e)).size"""
WORDS = {
    "story": "All chapters",
    "activations": "Masks of neighbouring steps",
    "attention": "Next word after",
    "runs": "Paired difference to the baseline",
    "block": "Train this",
}


def ready(page: Page, view: str) -> None:
    expect(page.get_by_text(WORDS[view]).first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(open_page: Callable[..., Page], view: str, scheme: str) -> None:
    page = open_page(f"/#v=1&view={view}", color_scheme=scheme)
    ready(page, view)
    for details in page.locator("details").all():
        details.locator("summary").click()
    page.evaluate(AXE)
    found = page.evaluate("async () => (await axe.run(document)).violations")
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_needs_no_sideways_scrolling(open_page: Callable[..., Page], view: str) -> None:
    page = open_page(f"/#v=1&view={view}", viewport={"width": 360, "height": 740}, has_touch=True)
    ready(page, view)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("view", VIEWS)
def test_every_control_is_reached_with_the_tab_key(
    open_page: Callable[..., Page], view: str
) -> None:
    page = open_page(f"/#v=1&view={view}")
    ready(page, view)
    assert page.evaluate(TAB_STOPS) > 5
    page.evaluate("window.reached = new Set(); 0")
    for _ in range(page.evaluate(TAB_STOPS) + 1):
        page.keyboard.press("Tab")
        page.evaluate(
            "() => { const e = document.activeElement;"
            " window.reached.add(e.type === 'radio' ? e.name : e); }"
        )
    assert page.evaluate("(window.reached.delete(document.body), window.reached.size)") >= (
        page.evaluate(TAB_STOPS)
    )


def test_a_shared_address_shows_the_same_pixels(open_page: Callable[..., Page]) -> None:
    still = {"reduced_motion": "reduce"}
    page = open_page("/#v=1&view=activations", **still)
    page.get_by_label("p, the probability of dropping", exact=True).fill("0.3")
    page.get_by_role("button", name="Resample").click()
    page.get_by_label("Values x").fill("1,2,3,4,5")
    page.get_by_label("Values x").press("Enter")
    page.mouse.move(1, 1)
    page.wait_for_timeout(400)
    address = page.evaluate("location.hash")
    assert "p=0.3" in address
    assert "mode" not in address, "only what is not at its default"
    pixels = "document.querySelector('canvas').toDataURL()"
    other = open_page("/" + address, **still)
    ready(other, "activations")
    other.wait_for_timeout(200)
    assert other.evaluate(pixels) == page.evaluate(pixels)


def test_back_returns_to_the_view_before(open_page: Callable[..., Page]) -> None:
    page = open_page("/#v=1&view=activations")
    page.get_by_role("link", name="Attention").click()
    ready(page, "attention")
    page.wait_for_timeout(300)
    page.go_back()
    ready(page, "activations")


@pytest.mark.parametrize(
    "nonsense",
    ["p=7", "p=", "p=NaN", "x=1,2,ham", "seed=-1", "step=1e9", "view=hell", "cut=9-9-9", "rates=1",
     "layer=999&head=999&view=attention", "cell=99-99&view=attention", "%%%", "text=%00%ff"],
)  # fmt: skip
def test_a_broken_address_is_read_as_far_as_it_makes_sense(
    open_page: Callable[..., Page], nonsense: str
) -> None:
    page = open_page(f"/#v=1&{nonsense}")
    expect(page.locator("main h2")).to_be_visible()


def test_a_figure_can_be_shown_alone(open_page: Callable[..., Page]) -> None:
    page = open_page("/#v=1&view=activations&embed=figure")
    ready(page, "activations")
    expect(page.locator("header")).to_be_hidden()
    expect(page.locator("h2")).to_be_hidden()


def test_motion_is_off_where_it_is_unwanted(open_page: Callable[..., Page]) -> None:
    page = open_page("/#v=1&view=activations", reduced_motion="reduce")
    ready(page, "activations")
    page.evaluate(
        "window.frames_asked = 0; const ask = window.requestAnimationFrame;"
        "window.requestAnimationFrame = (f) => { window.frames_asked++; return ask(f); }; 0"
    )
    page.get_by_role("button", name="Resample").click()
    assert page.evaluate("window.frames_asked") == 0


def test_the_theme_can_be_chosen(open_page: Callable[..., Page]) -> None:
    page = open_page("/#v=1&view=activations", color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    button = page.get_by_role("button", name="Theme")
    button.click()
    assert page.evaluate(paper) == light
    button.click()
    assert page.evaluate(paper) != light


def test_first_paint_comes_within_half_a_second(open_page: Callable[..., Page]) -> None:
    page = open_page("/#v=1&view=activations")
    ready(page, "activations")
    paint = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
    times = []
    for _ in range(3):
        page.reload()
        ready(page, "activations")
        page.wait_for_timeout(100)
        times.append(page.evaluate(paint))
    assert min(times) < 500, times
