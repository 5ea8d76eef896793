"""What the page asks for when it trains an old or a modern network, and what is refused."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.lab.jobs import command_for, recipe_name
from redrop.models import DropoutRates, MLPConfig, TransformerConfig
from redrop.tasks.configure import configure
from redrop.train.recipe_word import parse_recipe
from tests.lab.block import NETWORKS, TEXT_JS, config_of

ps = st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 1.0, 1e-07])


@given(st.sampled_from(NETWORKS), st.lists(ps, min_size=4, max_size=4))
def test_the_recipe_of_a_request_gives_back_its_rates(network: str, values: list[float]) -> None:
    kinds = MLPConfig.KINDS[network]
    config = config_of(network, dict(zip(kinds, values, strict=False)))
    again = configure(MLPConfig(features=3, outputs=2), parse_recipe(recipe_name(config)))
    assert (again.network, again.dropout) == (config.network, config.dropout)


def test_page_and_server_write_the_same_recipes(node: Callable[..., Any]) -> None:
    some = (0.0, 0.1, 0.3, 0.5)
    asked: list[tuple[str, list[float]]] = [("old", [a, b]) for a in some for b in some]
    asked += [("modern", [a, b, c, c]) for a in some for b in some for c in (0.0, 0.2)]
    asked += [("transformer", [a, a, b, a, a, b, 0, a, b]) for a in some for b in some]
    wanted = []
    for network, values in asked:
        if network == "transformer":
            rates = DropoutRates(**dict(zip(TransformerConfig.KINDS, values, strict=True)))
            wanted.append(recipe_name(TransformerConfig(vocab_size=2, dropout=rates)))
        else:
            kinds = MLPConfig.KINDS[network]
            wanted.append(recipe_name(config_of(network, dict(zip(kinds, values, strict=True)))))
    got = node(TEXT_JS + "give(input.map(([net, rates]) => recipeName(net, rates)));", asked)
    assert [re.sub(r"-0(?=\+|$)", "-0.0", name) for name in got] == wanted


ASKED: dict[str, Any] = {
    "network": "old", "task": "digits", "steps": 20, "seed": 0, "rates": {"pre_activation": 0.5},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "transformer"}, "`network` must be"),
        ({"network": ["old"]}, "`network` must be"),
        ({"network": "--out=/tmp"}, "`network` must be"),
        ({"task": "text"}, "`task` must be one of"),
        ({"task": "/etc/passwd"}, "`task` must be one of"),
        ({"task": {}}, "`task` must be one of"),
        ({"steps": 10**9}, "`steps` must lie in"),
        ({"seed": -1}, "`seed` must be"),
        ({"rates": {"drop_path": 0.1}}, "site that the network has"),
        ({"rates": {"pre_activation": 2}}, "rate"),
        ({"rates": {"pre_activation": "nan"}}, "rate"),
        ({"rates": {"--out": 0.1}}, "rates"),
        ({"rates": None}, "asked for with exactly"),
        ({"data": "digits"}, "asked for with exactly"),
        ({"norm": "pre"}, "asked for with exactly"),
    ],
)
def test_what_such_a_network_cannot_be_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        command_for({**ASKED, **change})


@pytest.mark.parametrize("asked", [5, None, "network", ["network"]])
def test_a_request_is_an_object(asked: Any) -> None:
    with pytest.raises(UsageError, match="asked for with exactly"):
        command_for(asked)


def test_a_transformer_is_not_asked_for_sites_that_it_has_not() -> None:
    asked = {"data": "markov:16000", "norm": "pre", "steps": 20, "seed": 0}
    with pytest.raises(UsageError, match="site that the network has"):
        command_for({**asked, "rates": {"pre_activation": 0.1}})
