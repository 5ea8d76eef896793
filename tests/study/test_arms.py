import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.models.config import DropoutRates
from redrop.study.arms import parse_arm, parse_arms

SITES = DropoutRates.sites()


def test_none_drops_nowhere():
    arm = parse_arm("none")
    assert set(arm.rates) == set(SITES)
    assert not any(arm.rates.values())
    assert arm.label == "no dropout"


@given(st.floats(0, 1).map(lambda p: round(p, 3)))
def test_all_means_every_site(p):
    assert parse_arm(f"all-{p:g}").rates == dict.fromkeys(SITES, float(f"{p:g}"))


@pytest.mark.parametrize("site", SITES)
def test_one_site_leaves_the_others_alone(site):
    assert parse_arm(f"{site}-0.3").rates == dict.fromkeys(SITES, 0.0) | {site: 0.3}


def test_a_later_part_overrides_an_earlier_one():
    rates = parse_arm("all-0.2+attention_weights-0+embedding-1e-1").rates
    assert rates == dict.fromkeys(SITES, 0.2) | {"attention_weights": 0.0, "embedding": 0.1}


@pytest.mark.parametrize(
    "name", ["", "all", "0.2", "everywhere-0.2", "all-x", "all-0.1+", "all-nan"]
)
def test_a_name_that_is_no_arm_is_refused(name):
    with pytest.raises(UsageError, match="An arm is `none` or parts `site-p`"):
        parse_arm(name)


def test_a_rate_outside_0_to_1_is_refused():
    with pytest.raises(UsageError, match="`p` must lie in \\[0, 1\\]; got 1.5"):
        parse_arm("all-1.5")


def test_more_than_one_point_is_no_number():
    with pytest.raises(UsageError, match="`p` of an arm must be a number"):
        parse_arm("all-0.1.2")


@pytest.mark.parametrize("names", [[], ["none"], ["none", "none"]])
def test_a_study_needs_two_different_arms(names):
    with pytest.raises(UsageError, match="at least two different arms"):
        parse_arms(names)
