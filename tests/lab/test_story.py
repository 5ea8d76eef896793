"""The story and the block diagram in a real browser."""

import json
import re
import shlex
import subprocess
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from redrop.mask import replay
from tests.lab.conftest import STATIC
from tests.lab.mask_hash import mask_hash


def chapters(node: Callable[..., Any]) -> list[dict[str, Any]]:
    return node(
        f"import {{ CHAPTERS }} from '{STATIC}/js/panels/chapters.js'; give(CHAPTERS);", None
    )


def test_every_chapter_can_be_walked_through(
    open_page: Callable[..., Page], node: Callable[..., Any]
) -> None:
    page = open_page("/")
    told = chapters(node)
    for number, chapter in enumerate(told, start=1):
        expect(page.locator(".rd-count")).to_have_text(f"{number} of {len(told)}")
        heading = page.locator(".rd-chapter-title").inner_text().replace("\u00a0", " ")
        assert heading == chapter["title"]
        expect(page.locator(".rd-slim canvas, .rd-slim svg").first).to_be_visible()
        for button in page.locator(".rd-try button").all():
            button.click()
            expect(button).to_have_attribute("aria-pressed", "true")
        if number < len(told):
            page.get_by_role("button", name="Next", exact=True).first.click()
    page.get_by_text("All chapters").click()
    page.locator(".rd-contents button").first.click()
    expect(page.locator(".rd-count")).to_have_text(f"1 of {len(told)}")


def test_a_chapter_can_be_shared_and_its_figure_changed(open_page: Callable[..., Page]) -> None:
    page = open_page("/#v=1&chapter=8")
    expect(page.get_by_text("Severed: 2.")).to_be_visible()
    odds = page.locator(".rd-odds-table tbody tr", has_text="purred").locator("td")
    assert float(odds.last.inner_text().split()[0]) < 50, "severing changes what comes next"
    page.get_by_role("button", name="Trained with dropout").click()
    expect(page.get_by_label("Model")).to_have_value("little-english-dropout")
    expect(odds.last).to_have_text(re.compile("9[0-9] %|100 %"))


def test_what_the_story_says_of_its_two_models_is_so(node: Callable[..., Any]) -> None:
    """The chapter “Cut one yourself”: same loss intact, and who suffers from severing."""
    from redrop.lab.models import shipped_models

    plain, robust = (entry["about"] for entry in shipped_models())
    assert abs(plain["validation_loss"] - robust["validation_loss"]) < 0.005
    assert plain["severed_loss"] - plain["validation_loss"] > 0.02
    assert robust["severed_loss"] - robust["validation_loss"] < 0.002
    texts = json.dumps(chapters(node))
    assert "because of LayerNorm" not in texts
    assert "The reason is not LayerNorm" in texts


def test_every_experiment_is_a_command_that_exists(node: Callable[..., Any]) -> None:
    from redrop.cli.app import app
    from redrop.study.arms import parse_arms

    told = [chapter["experiment"] for chapter in chapters(node) if "experiment" in chapter]
    points = [point for chapter in chapters(node) for point in chapter.get("list", [])]
    told += [point[1] for point in points if isinstance(point, list)]
    assert len(told) > 5
    for line in told:
        command = shlex.split(line)
        if "--arms" in command:
            parse_arms(command[command.index("--arms") + 1 :])
        if command[:2] != ["python", "-m"]:
            assert command[0] == "redrop"
            app.parse_args(command[1:], exit_on_error=False, print_error=False)


BLOCK = "/#v=1&view=block"


def test_every_site_can_be_chosen_and_shows_its_mask(open_page: Callable[..., Page]) -> None:
    page = open_page(BLOCK + "&step=4&seed=3")
    # In the order of a forward pass, with those of whole things off.
    sites = page.locator("[role=button].rd-site:not(.rd-site-off)")
    shapes = {
        "embedding_dropout": (1, 12, 48),
        "blocks.0.attention.weights": (1, 1, 12, 12),
        "blocks.0.attention.residual": (1, 12, 48),
        "blocks.0.feed_forward.hidden": (1, 12, 48),
        "blocks.0.feed_forward.residual": (1, 12, 48),
    }
    for index, (path, shape) in enumerate(shapes.items()):
        sites.nth(index).focus()
        page.keyboard.press("Enter")
        expect(page.locator(".rd-facts code")).to_have_text(path)
        keep = replay(seed=3, step=4, site=path, p=0.1, shape=shape)
        expect(page.locator(".rd-hash-value")).to_have_text(mask_hash(keep))


def test_sites_are_the_names_that_the_model_has(open_page: Callable[..., Page]) -> None:
    from redrop.models import TransformerConfig
    from redrop.models.transformer import Transformer
    from redrop.nn import attach

    names = set(attach(Transformer(TransformerConfig(vocab_size=5, layers=1)), seed=0).sites)
    page = open_page(BLOCK)
    shown = set()
    for site in page.locator(".rd-site:not(.rd-site-off)").all():
        site.click()
        shown.add(page.locator(".rd-facts code").inner_text())
    assert shown == names


def test_the_configuration_text_builds_what_is_shown(open_page: Callable[..., Page]) -> None:
    page = open_page(BLOCK)
    page.get_by_label("Post-norm").check(force=True)
    page.get_by_role("button", name="GPT-1, BERT, 2018").click()
    page.get_by_role("button", name="Dropout site Feed-forward, hidden").click()
    page.get_by_label("p, the probability of dropping", exact=True).fill("0.25")
    scope: dict[str, Any] = {}
    exec(page.locator("pre code").first.inner_text(), scope)
    config = scope["config"]
    assert config.norm == "post"
    rates = config.dropout
    assert (rates.embedding, rates.attention_weights, rates.attention_residual) == (0.1, 0.1, 0.1)
    assert (rates.feed_forward_hidden, rates.feed_forward_residual) == (0.25, 0.1)
    from redrop.train.recipe_word import parse_recipe

    command = page.locator("pre code").last.inner_text().split()
    recipe = parse_recipe(command[command.index("--dropout") + 1])
    assert recipe.rates(rates.kinds(), rates.sites()) == asdict(rates)
    assert command[command.index("--norm") + 1] == "post"


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_diagram_has_the_order_of_the_code(open_page: Callable[..., Page], norm: str) -> None:
    page = open_page(f"{BLOCK}&norm={norm}")
    texts = page.locator(".rd-diagram text").all_text_contents()
    order = [text.split(", p")[0] for text in texts if text not in ("residual stream",)]
    first_norm, attention = order.index("LayerNorm"), order.index("Attention weights")
    assert (first_norm < attention) == (norm == "pre")
    assert order.count("LayerNorm") == (3 if norm == "pre" else 2)


def test_node_is_content_with_every_module() -> None:
    for file in (STATIC / "js").rglob("*.js"):
        subprocess.run(["node", "--check", str(file)], check=True)
