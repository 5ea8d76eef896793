"""The named recipes: what their sources say, typed a second time."""

from contextlib import suppress

import pytest

from redrop.errors import UsageError
from redrop.models.config import MLPConfig, TransformerConfig, VisionTransformerConfig
from redrop.models.rates import DropoutRates
from redrop.tasks.configure import configure
from redrop.train.config import TrainConfig
from redrop.train.recipe_word import parse_recipe
from redrop.train.recipes import RECIPES

NETWORKS = {
    "transformer": TransformerConfig(vocab_size=11),
    "vision_transformer": VisionTransformerConfig(image_size=8, outputs=3),
    "mlp": MLPConfig(features=4, outputs=3),
}


def fitting(recipe):
    """The networks that the recipe configures, with their settings."""
    found = {}
    for name, base in NETWORKS.items():
        with suppress(UsageError):
            found[name] = configure(base, recipe)
    return found


OWN_MODEL = "as-is"


def test_the_recipe_for_a_users_own_model_fits_no_other():
    assert fitting(RECIPES[OWN_MODEL]) == {}


@pytest.mark.parametrize("name", [name for name in RECIPES if name != OWN_MODEL])
def test_every_recipe_fits_a_network_and_the_training(name):
    recipe = RECIPES[name]
    assert recipe.name == name
    assert recipe.label
    assert fitting(recipe), "no network takes it"
    TrainConfig(**recipe.train)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_with_values_of_others_says_whose(name):
    recipe = RECIPES[name]
    is_a_word = name in ("none", OWN_MODEL) or name.startswith(
        ("dropout-", "attention-only", "residual-only")
    )
    assert bool(recipe.source) != is_a_word


def test_names_are_words_of_the_command_line():
    for name in RECIPES:
        assert "+" not in name
        assert not any(sign.isspace() for sign in name)
        assert parse_recipe(name) is RECIPES[name]


PUBLISHED = {
    # embedding, attention weights, attention residual, hidden, feed-forward residual
    "none": (0.0, 0.0, 0.0, 0.0, 0.0),
    "dropout-0.1": (0.1, 0.1, 0.1, 0.1, 0.1),
    "dropout-0.2": (0.2, 0.2, 0.2, 0.2, 0.2),
    "dropout-0.3": (0.3, 0.3, 0.3, 0.3, 0.3),
    "attention-only-0.1": (0.0, 0.1, 0.0, 0.0, 0.0),
    "residual-only-0.1": (0.0, 0.0, 0.1, 0.0, 0.1),
    "vaswani": (0.1, 0.0, 0.1, 0.0, 0.1),
    "gpt2": (0.1, 0.1, 0.1, 0.0, 0.1),
    "bert": (0.1, 0.1, 0.1, 0.0, 0.1),
    "t5": (0.1, 0.1, 0.1, 0.1, 0.1),
    "llama": (0.0, 0.0, 0.0, 0.0, 0.0),
    "slowrun": (0.0, 0.0, 0.1, 0.0, 0.1),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_rates_are_those_that_were_published(name):
    dropout = fitting(RECIPES[name])["transformer"].dropout
    assert tuple(getattr(dropout, site) for site in DropoutRates.sites()) == PUBLISHED[name]
    others = {
        kind: p
        for kind in dropout.active
        if (p := getattr(dropout, kind)) and kind not in DropoutRates.sites()
    }
    assert others == ({"drop_path": 0.05} if name == "slowrun" else {})


@pytest.mark.parametrize(
    ("name", "model", "train"),
    [
        ("vaswani", {"norm": "post"}, {"label_smoothing": 0.1}),
        ("bert", {"norm": "post"}, {}),
        ("gpt2", {}, {}),
        ("llama", {"norm_layer": "rmsnorm"}, {"weight_decay": 0.1, "clip_norm": 1.0}),
        ("adam", {}, {"optimizer": "adam", "weight_decay": 0.0}),
        ("sgd", {}, {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 1e-4}),
        ("no-norm", {"norm_layer": "none", "init": "xavier"}, {}),
        ("slowrun", {}, {"weight_decay": 0.8}),
        ("early-dropout", {}, {"dropout_schedule": "early-0.2"}),
        ("late-dropout", {}, {"dropout_schedule": "late-0.5"}),
        ("r-drop", {}, {"r_drop": 1.0}),
        ("early-stopping", {}, {"patience": 3}),
    ],
)
def test_what_else_was_published(name, model, train):
    assert (dict(RECIPES[name].model), dict(RECIPES[name].train)) == (model, train)


def test_the_old_and_the_modern_manner_on_each_network():
    old, modern = fitting(RECIPES["old"]), fitting(RECIPES["modern"])
    assert (old["mlp"].network, modern["mlp"].network) == ("old", "modern")
    assert (old["mlp"].dropout.pre_activation, old["mlp"].dropout.feed_forward_hidden) == (0.5, 0.3)
    for name in ("transformer", "vision_transformer"):
        assert (old[name].norm, modern[name].norm) == ("post", "pre")
        assert old[name].dropout.active == ("feed_forward_hidden",)
        assert modern[name].dropout.active == ()
    assert RECIPES["old"].train["clip_norm"] == RECIPES["old"].train["weight_decay"] == 0.0
