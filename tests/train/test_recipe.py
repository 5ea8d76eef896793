import json
import subprocess
import sys
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.models.config import MLPConfig, TransformerConfig
from redrop.models.rates import DropoutRates
from redrop.train.recipe import Recipe, compose

RATES = st.dictionaries(
    st.sampled_from(["all", *DropoutRates.kinds()]), st.floats(0, 1), max_size=5
)
SETTINGS = st.dictionaries(
    st.sampled_from("abcd"),
    st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans(), st.text()),
    max_size=3,
)
RECIPES = st.builds(
    Recipe,
    name=st.text(min_size=1),
    label=st.text(),
    dropout=RATES,
    model=SETTINGS,
    train=SETTINGS,
    augment=SETTINGS,
    source=st.text(),
)
GROUPS = ("dropout", "model", "train", "augment")


@given(RECIPES)
def test_it_comes_back_from_json(recipe):
    assert Recipe.from_json(json.loads(json.dumps(asdict(recipe)))) == recipe


@given(st.lists(RECIPES, min_size=1, max_size=4))
def test_composing_is_merging_with_the_last_word_for_the_last(recipes):
    one = compose(tuple(recipes), "together")
    for group in GROUPS:
        expected = {}
        for recipe in recipes:
            expected = {**expected, **getattr(recipe, group)}
        assert dict(getattr(one, group)) == expected
    assert one.name == "together"


@given(RECIPES, RECIPES, RECIPES)
def test_composing_in_steps_is_composing_at_once(a, b, c):
    at_once = compose((a, b, c), "abc")
    in_steps = compose((compose((a, b), "ab"), c), "abc")
    assert at_once == in_steps


@given(RATES)
def test_a_rate_of_its_own_overrides_all_of_those_before_it(dropout):
    kinds, elementwise = DropoutRates.kinds(), DropoutRates.sites()
    rates = Recipe(name="r", dropout=dropout).rates(kinds, elementwise)
    assert rates.keys() == set(kinds)
    order = list(dropout)
    for kind in kinds:
        own = order.index(kind) if kind in order else -1
        common = order.index("all") if "all" in order and kind in elementwise else -1
        last = max(own, common)
        assert rates[kind] == (dropout[order[last]] if last >= 0 else 0.0)


def test_one_recipe_serves_networks_of_all_sorts():
    recipe = Recipe(name="r", dropout={"all": 0.2, "drop_head": 0.3, "drop_path": 0.1})
    for kinds in (TransformerConfig.KINDS, MLPConfig.KINDS["modern"], MLPConfig.KINDS["old"]):
        elementwise = tuple(k for k in kinds if k in (*DropoutRates.sites(), "pre_activation"))
        rates = recipe.rates(kinds, elementwise)
        assert rates.keys() == set(kinds)
        assert all(rates[kind] == 0.2 for kind in elementwise)
        assert rates.get("drop_path", 0.1) == 0.1


def test_a_recipe_for_sites_that_a_network_lacks_is_refused_and_one_of_zeros_is_not():
    with pytest.raises(UsageError, match="drops at drop_head, none of .* It has: hidden"):
        Recipe(name="r", dropout={"drop_head": 0.1}).rates(("hidden",), ("hidden",))
    assert Recipe(name="r", dropout={"drop_head": 0.0}).rates(("hidden",), ()) == {"hidden": 0.0}
    with pytest.raises(UsageError, match="It has: no site"):
        Recipe(name="r", dropout={"all": 0.1}).rates((), ())


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan"), float("inf")])
def test_a_rate_out_of_range_names_recipe_and_site(p):
    with pytest.raises(UsageError, match=r"Recipe 'r', dropout on `all`: .*\[0, 1\]; got"):
        Recipe(name="r", dropout={"all": p})


@pytest.mark.parametrize("p", ["0.1", None, [0.1]])
def test_a_rate_that_is_no_number_is_refused(p):
    with pytest.raises(UsageError, match="Recipe 'r', dropout on `all`: "):
        Recipe(name="r", dropout={"all": p})


@pytest.mark.parametrize("group", ["model", "train", "augment"])
@pytest.mark.parametrize("value", [None, [1], {"a": 1}])
def test_a_setting_is_a_number_a_word_or_yes_or_no(group, value):
    with pytest.raises(UsageError, match=f"`{group}.key` must be a number, a word or true/false"):
        Recipe(name="r", **{group: {"key": value}})


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ({}, "its `name` is missing"),
        ({"name": 3}, "its `name` is missing"),
        ({"name": "r", "rates": {}}, "unknown: rates"),
        ({"name": "r", "dropout": 0.1}, "Recipe 'r': `dropout` must be a table"),
        ({"name": "r", "train": [1]}, "Recipe 'r': `train` must be a table"),
        ({"name": "r", "dropout": {"all": "x"}}, "dropout on `all`"),
    ],
)
def test_what_is_no_recipe_is_refused(stored, message):
    with pytest.raises(UsageError, match=message):
        Recipe.from_json(stored)


def test_only_a_recipe_that_changes_nothing_is_a_baseline():
    assert Recipe(name="none").is_baseline
    assert Recipe(name="none", dropout={"all": 0.0}, label="x", source="y").is_baseline
    for group in GROUPS:
        assert not Recipe(name="r", **{group: {"all": 0.5}}).is_baseline


def test_recipes_load_no_torch():
    names = ("recipe", "recipe_word", "recipes", "recipe_file", "config")
    code = "import sys\n" + "".join(f"import redrop.train.{name}\n" for name in names)
    code += "import redrop.tasks.configure, redrop.tasks.spec, redrop.tasks.presets\n"
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
