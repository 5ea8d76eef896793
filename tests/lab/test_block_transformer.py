"""The transformer of the block view: all its kinds of site, and the masks that the network uses."""

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from redrop.lab.jobs import command_for
from redrop.models import DropoutRates, TransformerConfig, build_model
from redrop.nn import attach
from redrop.nn import replay as replay_of_model
from tests.lab.block import BLOCK, MASK_JS, SITES_JS, STATE_JS, check_chosen

KINDS = TransformerConfig.KINDS
ABOUT = SITES_JS + "give(NETWORKS.transformer.about);"
# What the site is given in a network of 12 heads of 48 channels, for 12 samples of 12 tokens.
TENSORS = {
    "token_dropout": (12, 12, 576),
    "drop_head": (12, 12, 12, 48),
    "drop_path": (12, 12, 576),
}


def transformer(**rates: float) -> Any:
    config = TransformerConfig(
        vocab_size=5, width=576, heads=12, layers=2, context=12, dropout=DropoutRates(**rates)
    )
    return build_model(config)


def ending(path: str) -> str:
    return re.sub(r"blocks\.\d+\.|(attention|feed_forward)_(?=drop_path)", "", path)


def test_sites_have_the_kinds_and_names_of_the_code(node: Callable[..., Any]) -> None:
    told = node(ABOUT, None)
    assert tuple(told) == KINDS
    in_code = set(attach(transformer(**dict.fromkeys(KINDS, 0.5)), seed=0).sites)
    assert {about["path"] for about in told.values()} <= in_code
    assert {ending(about["path"]) for about in told.values()} == set(map(ending, in_code))
    for kind, about in told.items():
        alone = transformer(**{kind: 0.3})
        assert alone.get_submodule(about["path"]).p == 0.3, "p of the page is that of this site"


@pytest.mark.parametrize("kind", TENSORS)
def test_what_is_drawn_is_the_corner_of_the_networks_own_mask(
    node: Callable[..., Any], kind: str
) -> None:
    drawn = node(
        SITES_JS + MASK_JS + "const { path, mask } = NETWORKS.transformer.about[input];\n"
        "give([0, 1, 2].map((step) => [...keepMask(maskKey(9n, step, siteId(path)), 0.5,\n"
        "  mask.shape, { shared: mask.shared })]));",
        kind,
    )
    about = node(ABOUT, None)[kind]
    model = transformer(**{kind: 0.5})
    attach(model, seed=9)
    for step, bits in enumerate(drawn):
        kept = replay_of_model(model, about["path"], step=step, shape=TENSORS[kind]).numpy()
        kept = np.broadcast_to(kept, TENSORS[kind])
        corner = kept[tuple(slice(size) for size in about["mask"]["shape"])]
        assert bits == corner.astype(int).ravel().tolist()
        rows, columns = about["mask"].get("grid", about["mask"]["shape"][-2:])
        assert rows * columns == len(bits)
        as_drawn = np.reshape(bits, (rows, columns))
        assert (as_drawn == as_drawn[:, :1]).all(), "a row is one token, head or sample"
    assert {bit for bits in drawn for bit in bits} == {0, 1}


def test_every_site_is_chosen_by_key_and_shows_the_hash_of_its_mask(
    open_page: Callable[..., Page], node: Callable[..., Any]
) -> None:
    page = open_page(f"{BLOCK}&rates={','.join(['0.4'] * len(KINDS))}&seed=5&step=8")
    shown = page.locator(".rd-site").all()
    assert len(shown) == len(KINDS) + 1, "both branches of a block can be dropped"
    about = node(ABOUT, None)
    for kind, told in about.items():
        buttons = page.get_by_role("button", name=f"Dropout site {told['title']}, p = 0.4")
        assert buttons.count() == (2 if kind == "drop_path" else 1)
        check_chosen(page, buttons.last, kind, told)


def test_python_and_command_name_the_sites(open_page: Callable[..., Page]) -> None:
    page = open_page(f"{BLOCK}&rates=0,0,0,0,0,0.1,0.2,0.3,0.4&norm=post")
    python, command = page.locator(".rd-snippet pre code").all_inner_texts()
    scope: dict[str, Any] = {}
    exec(python, scope)
    rates = {"token_dropout": 0.1, "drop_head": 0.2, "drop_path": 0.3, "layer_drop": 0.4}
    assert scope["config"].dropout == DropoutRates(**rates)
    _, arm = command_for(
        {"data": "markov:16000", "norm": "post", "steps": 20, "seed": 0, "rates": rates}
    )
    assert f"--dropout {arm} " in command


def test_links_from_before_these_sites_still_lead_to_their_rates(node: Callable[..., Any]) -> None:
    body = STATE_JS + (
        "give(input.map((hash) => { const s = createState(); fromHash(s, hash);\n"
        "  return s.rates.value; }));"
    )
    got = node(body, ["#v=1&rates=0.1,0.2,0,0.3,0", "#v=1&rates=0,0,0,0,0,0.1,0.2,0.3,0.4"])
    assert got == [[0.1, 0.2, 0, 0.3, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0.1, 0.2, 0.3, 0.4]]
