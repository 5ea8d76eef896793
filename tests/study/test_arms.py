import pytest

from redrop.errors import UsageError
from redrop.models.rates import DropoutRates
from redrop.study.arms import parse_arms
from redrop.train.recipe import Recipe

SITES = DropoutRates.sites()


def test_the_arms_stand_in_the_order_in_which_they_were_named():
    names = ["all-0.2", "none", "weight_decay-1", "attention_weights-0.1+norm-post"]
    assert [arm.name for arm in parse_arms(names)] == names


def test_arms_of_one_network_differ_in_what_they_name():
    none, all_, one = parse_arms(["none", "all-0.2", "attention_weights-0.3"])
    assert none.rates(SITES, SITES) == dict.fromkeys(SITES, 0.0)
    assert all_.rates(SITES, SITES) == dict.fromkeys(SITES, 0.2)
    assert one.rates(SITES, SITES) == dict.fromkeys(SITES, 0.0) | {"attention_weights": 0.3}
    assert none.is_baseline


def test_a_users_own_recipe_is_an_arm():
    mine = Recipe(name="mine", dropout={"all": 0.15}, train={"weight_decay": 0.8})
    assert parse_arms(["none", "mine"], {"mine": mine})[1] is mine


@pytest.mark.parametrize("names", [[], ["none"], ["none", "none"], ["none", "all-0.1", "none"]])
def test_a_study_needs_two_different_arms(names):
    with pytest.raises(UsageError, match="at least two different arms"):
        parse_arms(names)


def test_a_word_that_is_no_arm_is_refused():
    with pytest.raises(UsageError, match="An arm is the name of a recipe or `setting-value`"):
        parse_arms(["none", "everywhere-0.2"])
