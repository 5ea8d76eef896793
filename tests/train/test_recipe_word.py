import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.models.config import MLPConfig, TransformerConfig
from redrop.models.rates import DropoutRates
from redrop.tasks.configure import configure
from redrop.train.config import TrainConfig
from redrop.train.recipe import Recipe, compose
from redrop.train.recipe_word import SETTINGS, SITES, STRUCTURES, parse_recipe
from redrop.train.recipes import RECIPES

P = st.floats(0, 1).map(lambda p: round(p, 3))
TRAIN_VALUES = {
    "patience": "3",
    "warmup_steps": "7",
    "learning_rate": "2e-3",
    "schedule": "linear",
    "optimizer": "sgd",
    "dropout_schedule": "late-0.5",
}
MODEL_VALUES = {
    "norm": "post",
    "norm_layer": "rmsnorm",
    "residual": "off",
    "init": "xavier",
    "network": "old",
    "activation": "relu",
}
SETTINGS_OF = {
    TransformerConfig: {"norm", "norm_layer", "residual", "init", "network"},
    MLPConfig: {"norm_layer", "residual", "init", "network", "activation"},
}
GROUPS = ("dropout", "model", "train", "augment")
WORDS = [
    *(f"{site}-0.2" for site in (*SITES, *STRUCTURES)),
    *(f"{name}-{TRAIN_VALUES.get(name, '0.5')}" for name in SETTINGS["train"]),
    *(f"{name}-{value}" for name, value in MODEL_VALUES.items()),
    *(f"{name}-0.5" for name in SETTINGS["augment"]),
]


def groups(recipe):
    return {group: dict(getattr(recipe, group)) for group in GROUPS}


@pytest.mark.parametrize("site", [*SITES, *STRUCTURES])
@given(p=P)
def test_a_site_and_a_rate(site, p):
    recipe = parse_recipe(f"{site}-{p:g}")
    assert groups(recipe) == {
        "dropout": {site: float(f"{p:g}")},
        "model": {},
        "train": {},
        "augment": {},
    }
    assert f"{p:g}" in recipe.label


@pytest.mark.parametrize("name", SETTINGS["train"])
def test_every_word_of_training_is_a_setting_that_training_takes(name):
    recipe = parse_recipe(f"{name}-{TRAIN_VALUES.get(name, '0.5')}")
    config = TrainConfig(**recipe.train)
    assert str(getattr(config, name)) == TRAIN_VALUES.get(name, "0.5").replace("2e-3", "0.002")
    assert getattr(config, name) != getattr(TrainConfig(), name)
    assert recipe.label == {"optimizer": "SGD with momentum"}.get(
        name, f"{SETTINGS['train'][name]} {TRAIN_VALUES.get(name, '0.5')}"
    )


def test_every_word_of_a_network_is_a_setting_that_some_network_takes():
    assert MODEL_VALUES.keys() == SETTINGS["model"].keys()
    bases = (TransformerConfig(vocab_size=5), MLPConfig(features=4, outputs=2))
    for name, value in MODEL_VALUES.items():
        recipe = parse_recipe(f"{name}-{value}")
        assert recipe.model == {name: False if value == "off" else value}
        takers = [base for base in bases if name in SETTINGS_OF[type(base)]]
        assert takers, name
        for base in takers:
            assert configure(base, recipe) != base
        for base in set(bases) - {*takers}:
            with pytest.raises(UsageError, match=f"changes `{name}`"):
                configure(base, recipe)


@pytest.mark.parametrize("name", SETTINGS["augment"])
def test_every_word_of_augmentation_is_a_strength(name):
    assert groups(parse_recipe(f"{name}-0.5")) == {
        "dropout": {}, "model": {}, "train": {}, "augment": {name: 0.5}
    }  # fmt: skip


def test_every_kind_of_site_and_every_setting_has_one_word():
    words = [*SITES, *(word for labels in SETTINGS.values() for word in labels)]
    assert len(set(words)) == len(words)
    assert {*SITES, *STRUCTURES} == {"all", *DropoutRates.kinds()}
    assert not {*words} & {*RECIPES}


@given(st.lists(st.sampled_from([*WORDS, *RECIPES]), min_size=1, max_size=5))
def test_joined_words_do_what_the_parts_do_and_later_ones_override(parts):
    name = "+".join(parts)
    assume(name not in RECIPES)
    recipe = parse_recipe(name)
    assert recipe.name == name
    assert groups(recipe) == groups(compose(tuple(parse_recipe(part) for part in parts), name))


def test_a_later_part_overrides_an_earlier_one():
    recipe = parse_recipe(
        "all-0.2+attention_weights-0+embedding-1e-1+weight_decay-1+weight_decay-2"
    )
    sites = DropoutRates.sites()
    assert recipe.rates(sites, sites) == dict.fromkeys(sites, 0.2) | {
        "attention_weights": 0.0,
        "embedding": 0.1,
    }
    assert recipe.train == {"weight_decay": 2}


@pytest.mark.parametrize(
    ("word", "label"),
    [
        ("none", "no dropout"),
        ("all-0.2", "dropout 0.2 on all sites"),
        ("all-0.2+embedding-0", "dropout 0.2 on all sites, 0 on the embedding"),
        ("all-0.1+weight_decay-0.3", "dropout 0.1 on all sites, weight decay 0.3"),
        ("norm-post", "norm post"),
        ("norm_layer-none", "no norm layers"),
        ("norm_layer-rmsnorm", "norm layer rmsnorm"),
        ("optimizer-adamw", "optimizer adamw"),
        ("optimizer-sgd+learning_rate-0.3", "SGD with momentum, learning rate 0.3"),
        ("gpt2+ema-0.99", f"{RECIPES['gpt2'].label}, averaged weights 0.99"),
    ],
)
def test_the_label_says_it_in_words(word, label):
    assert parse_recipe(word).label == label


@pytest.mark.parametrize(
    ("word", "value"),
    [("weight_decay-1", 1), ("weight_decay-1e-3", 1e-3), ("residual-off", False),
     ("residual-true", True), ("dropout_schedule-early-0.2", "early-0.2"),
     ("norm_layer-none", "none"), ("optimizer-sgd", "sgd")],
)  # fmt: skip
def test_a_value_is_a_whole_number_a_number_yes_or_no_or_a_word(word, value):
    recipe = parse_recipe(word)
    (found,) = (recipe.train or recipe.model).values()
    assert found == value
    assert type(found) is type(value)


def test_a_users_recipe_comes_before_that_of_the_package_and_can_be_joined():
    own = {"gpt2": Recipe(name="gpt2", dropout={"all": 0.5})}
    assert parse_recipe("gpt2", own) is own["gpt2"]
    joined = parse_recipe("gpt2+embedding-0", own)
    assert dict(joined.dropout) == {"all": 0.5, "embedding": 0.0}
    assert parse_recipe("gpt2") is RECIPES["gpt2"]


@pytest.mark.parametrize(
    "word",
    ["", "all", "0.2", "everywhere-0.2", "all-0.1+", "+", "all-", "-0.1", "none-0.1", "all 0.1"],
)
def test_a_word_that_is_no_recipe_is_refused(word):
    with pytest.raises(
        UsageError, match="An arm is the name of a recipe or `setting-value`"
    ) as caught:
        parse_recipe(word)
    assert repr(word) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["all-x", "all-0.1.2", "drop_path-much", "all-early-0.2"])
def test_a_rate_that_is_no_number_is_refused(word):
    with pytest.raises(UsageError, match=f"`p` of an arm must be a number; got '{word}'"):
        parse_recipe(word)


@pytest.mark.parametrize("p", ["1.5", "-0.1", "nan", "inf"])
def test_a_rate_outside_0_to_1_is_refused(p):
    with pytest.raises(UsageError, match=r"`p` must lie in \[0, 1\]; got"):
        parse_recipe(f"all-{p}")


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("weight_deacy-0.3", "weight_decay-0.3"),
        ("atention_weights-0.1", "attention_weights-0.1"),
        ("gpt", "gpt2"),
        ("mixp-0.2", "mixup-0.2"),
        ("none+weightdecay-0.3", "weight_decay-0.3"),
        ("weight_decay", "weight_decay-VALUE"),
    ],
)
def test_a_mistyped_word_gets_a_hint(typed, meant):
    with pytest.raises(UsageError, match=f"Did you mean '{meant}'"):
        parse_recipe(typed)
    if not meant.endswith("-VALUE"):
        parse_recipe(meant)


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        ("weight_decay-abc", "`weight_decay` must be a finite number of at least 0; got 'abc'"),
        ("all-0.1+ema-1", r"`ema` must lie in \[0, 1\); got 1"),
        ("patience-0.5", "`patience` must be an integer of at least 0; got 0.5"),
        ("optimizer-lion", '`optimizer` must be "adamw" or "adam" or "sgd"; got \'lion\''),
        ("dropout_schedule-0.2", "`dropout_schedule` must be a word; got 0.2"),
    ],
)
def test_a_value_that_no_run_would_take_is_refused(typed, rule):
    with pytest.raises(UsageError, match=rule):
        parse_recipe(typed)


def test_a_word_like_no_other_gets_no_hint():
    with pytest.raises(UsageError) as caught:
        parse_recipe("zzzzqqqq-1")
    assert "Did you mean" not in str(caught.value)
    assert "redrop recipes" in str(caught.value)
