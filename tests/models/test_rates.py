from dataclasses import asdict

import pytest

from redrop.errors import UsageError
from redrop.models import DropoutRates

SITES = (
    "embedding",
    "attention_weights",
    "attention_residual",
    "feed_forward_hidden",
    "feed_forward_residual",
)
OTHERS = ("pre_activation", "token_dropout", "drop_head", "drop_path", "layer_drop")


def test_rates_are_zero_until_they_are_given():
    assert DropoutRates().active == ()
    assert set(asdict(DropoutRates()).values()) == {0.0}


def test_sites_are_the_elementwise_kinds():
    assert DropoutRates.sites() == SITES
    assert DropoutRates.kinds() == (*SITES, *OTHERS)


def test_everywhere_means_every_elementwise_site():
    rates = asdict(DropoutRates.everywhere(0.25))
    assert {name: p for name, p in rates.items() if p} == dict.fromkeys(SITES, 0.25)


@pytest.mark.parametrize("kind", DropoutRates.kinds())
def test_a_positive_rate_is_active(kind):
    assert DropoutRates(**{kind: 0.1}).active == (kind,)


@pytest.mark.parametrize("kind", DropoutRates.kinds())
@pytest.mark.parametrize("p", [1.5, -0.1, float("nan"), float("inf")])
def test_a_rate_outside_0_to_1_is_refused_with_its_name(kind, p):
    with pytest.raises(UsageError, match=f"`{kind}`.*\\[0, 1\\]; got {p}"):
        DropoutRates(**{kind: p})


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_the_ends_of_the_range_are_allowed(p):
    assert DropoutRates.everywhere(p).embedding == p
