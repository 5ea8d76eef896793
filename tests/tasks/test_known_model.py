"""A user's model is built once per question, and what was seen of it is kept."""

import functools
import inspect
import weakref

import pytest

from redrop.errors import UsageError
from redrop.train.recipe import Recipe
from redrop.train.recipe_word import parse_recipe
from redrop.train.run import Run
from tests.tasks import own, small
from tests.tasks.own import dropping, task


class Counting:
    """A builder that counts, and knows which of its models are still there."""

    def __init__(self, builder=own.build):
        self.builder = builder
        self.built = []
        self.__signature__ = inspect.signature(builder)

    def __call__(self, **changes):
        model = self.builder(**changes)
        self.built.append(weakref.ref(model))
        return model

    @property
    def alive(self):
        return sum(model() is not None for model in self.built)


def test_a_run_builds_its_model_once():
    builder = Counting()
    run = Run(task(builder).with_recipe(parse_recipe("all-0.3"), 5), small.train_config())
    assert (len(builder.built), builder.alive) == (1, 1)
    assert run.model is builder.built[0]()


def test_recipes_that_differ_in_their_rates_are_checked_on_one_model():
    builder = Counting()
    mine = task(builder)
    words = ("none", "as-is", "all-0.1", "as-is+all-0.3+weight_decay-1")
    recipes = [*map(parse_recipe, words), dropping(drop=0.2)]
    mine.check(*recipes)
    for recipe in recipes:  # what fits is known, and so is all that was seen of it
        mine.check(recipe)
        assert mine.parameters(recipe) == SIZES[16]
    assert mine.describe()["code"] == mine.code
    assert (len(builder.built), builder.alive) == (1, 0)
    assert mine.code == task(builder).code  # which builds, since nothing was looked at
    assert len(builder.built) == 2


def test_other_arguments_of_the_builder_are_another_model():
    builder = Counting()
    mine = task(builder)
    arms = [
        Recipe(name=str(number), model=model, dropout={"drop": p})
        for number, (model, p) in enumerate([({}, 0.1), ({"hidden": 32}, 0.1), ({}, 0.2)])
    ]
    mine.check(*arms)
    assert [mine.parameters(arm) for arm in arms] == [SIZES[16], SIZES[32], SIZES[16]]
    assert (len(builder.built), builder.alive) == (2, 0)
    with pytest.raises(UsageError, match="`absent` names no site"):
        mine.check(arms[0], Recipe(name="r", dropout={"absent": 0.1}))
    mine.check(*arms)
    assert len(builder.built) == 3  # what was refused is not taken for fitting, the rest is


# Weights and biases of two layers, and scale and shift of the normalization between them.
SIZES = {h: (own.WIDTH * h + h) + 2 * h + (h * own.CLASSES + own.CLASSES) for h in (16, 32)}


def test_what_is_frozen_or_shared_is_not_counted_twice():
    def build():
        model = own.build()
        model.first.requires_grad_(False)
        model.again = model.last
        return model

    frozen = own.WIDTH * 16 + 16
    assert task(build).parameters(parse_recipe("as-is")) == SIZES[16] - frozen


def test_a_builder_may_hold_what_it_built_but_not_return_it_again():
    held = []

    def build():
        held.append(own.build())
        return held[-1]

    task(build).check(parse_recipe("all-0.1"))
    assert len(held) == 2  # built again, to see whether it is another one
    with pytest.raises(UsageError, match="builds a new model at each call; it returned one that"):
        task(functools.cache(own.build)).check(parse_recipe("all-0.1"))
