"""What planning asks of a task, and how often it builds a model for that."""

import pytest

from redrop.errors import UsageError
from redrop.study.arms import parse_arms
from redrop.study.question import Question, scaled
from redrop.tasks.loaders import read_loaders
from redrop.tasks.module import ModuleTask
from redrop.tasks.parameters import count_parameters
from redrop.tasks.spec import TaskSpec
from redrop.train.config import TrainConfig
from redrop.train.recipe_word import parse_recipe
from tests.tasks import own, small

TRAIN = TrainConfig(steps=8, batch_size=8, warmup_steps=1, eval_every=4, threads=1)
ARMS = parse_arms(("none", "as-is", "all-0.1", "all-0.2"))


@pytest.fixture
def asked():
    """A question about a model of one's own, and how often it was built."""
    built = []

    def build(hidden=16):
        built.append(hidden)
        return own.build(hidden)

    task = ModuleTask("mine", build, read_loaders(own.loaders()), "0" * 64)
    spec = TaskSpec(kind="module", source="mine:loaders", network="module", model="mine:build")
    return Question(spec=spec, task=task, train=TRAIN, margin=0.01, command=""), built


def test_a_model_is_built_once_for_all_plans_of_a_study(asked):
    question, built = asked
    plan = question.plan(ARMS, [0])
    again = question.with_precision("bfloat16").plan(ARMS[::-1], [0, 1], steps=16, looks=2)
    assert built == [16]
    assert plan.parameters == again.parameters == question.task.parameters(ARMS[0])
    question.plan((ARMS[0], parse_recipe("all-0.3")), [0])
    assert built == [16, 16]


@pytest.mark.parametrize("name", small.SPECS)
def test_a_plan_notes_the_parameters_of_its_baseline(name):
    task = small.task(name)
    question = Question(spec=small.SPECS[name], task=task, train=TRAIN, margin=0.01, command="")
    plan = question.plan((ARMS[2], ARMS[0]), [0])
    assert plan.parameters == count_parameters(task, ARMS) > 0
    assert "parameters" not in str(plan.settings)


def test_an_arm_that_does_not_fit_is_refused_and_tried_again_when_it_is_asked_again(asked):
    question, built = asked
    for _ in range(2):
        with pytest.raises(UsageError, match="`drop_path` is a kind that this model does not have"):
            question.plan((ARMS[0], parse_recipe("drop_path-0.1")), [0])
    assert built == [16, 16]


def test_warm_up_and_evaluations_grow_with_the_steps():
    train = scaled(TRAIN, 2800)
    assert (train.steps, train.warmup_steps, train.eval_every) == (2800, 140, 100)
    assert scaled(TRAIN, 1).warmup_steps == 1
