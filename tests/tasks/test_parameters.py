import pytest

from redrop.errors import UsageError
from redrop.models.config import TransformerConfig
from redrop.tasks import parameters
from redrop.tasks.parameters import count_parameters
from redrop.train.config import TrainConfig
from redrop.train.optimizer import describe_groups
from redrop.train.recipe import Recipe
from redrop.train.recipe_word import parse_recipe
from redrop.train.run import Run
from tests.tasks import small


@pytest.mark.parametrize("name", small.SPECS)
@pytest.mark.parametrize("word", ["none", "all-0.3"])
def test_what_is_counted_is_what_a_run_trains(name, word):
    task, arm = small.task(name), parse_recipe(word)
    run = Run(task.with_recipe(arm), small.train_config())
    trained = sum(
        group.elements for group in describe_groups(run.model, TrainConfig().weight_decay)
    )
    assert count_parameters(task, (arm,)) == trained > 0


def test_the_first_arm_is_counted():
    task = small.task("classes", layers=2)
    old, modern = parse_recipe("old"), parse_recipe("modern")
    assert count_parameters(task, (old, modern)) != count_parameters(task, (modern, old))


def test_one_network_is_built_once_whatever_its_rates(monkeypatch):
    build, built = parameters.build_model, []

    def count(config, *, seed):
        built.append(config)
        return build(config, seed=seed)

    monkeypatch.setattr(parameters, "build_model", count)
    parameters._of_network.cache_clear()
    for width in (16, 24, 16):
        task = small.task("text", width=width)
        counts = {
            count_parameters(task, (parse_recipe(w),)) for w in ("none", "all-0.3", "drop_path-0.2")
        }
        assert len(counts) == 1
    assert [type(config) for config in built] == [TransformerConfig] * 2


def test_an_arm_that_does_not_fit_is_refused():
    with pytest.raises(UsageError, match="changes `depth`"):
        count_parameters(small.task("text"), (Recipe(name="r", model={"depth": 3}),))
