"""What the loop may rely on, whatever the task: `redrop.train.task.Task`."""

import json

import pytest
import torch

from redrop.train.recipe_word import parse_recipe
from tests.tasks import small

TASKS = [*small.SPECS]


def same(one, other):
    return torch.equal(one.inputs, other.inputs) and torch.equal(one.targets, other.targets)


def without_seconds(events):
    return [{key: value for key, value in e.items() if key != "seconds"} for e in events]


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_a_function_of_seed_and_step(name):
    task = small.task(name)
    batch = task.batch(seed=3, step=4, batch_size=8)
    assert len(batch) == 8
    torch.manual_seed(123)  # nothing may depend on torch's generator
    assert same(batch, small.task(name).batch(seed=3, step=4, batch_size=8))
    assert not same(batch, task.batch(seed=3, step=5, batch_size=8))
    assert not same(batch, task.batch(seed=4, step=4, batch_size=8))


@pytest.mark.parametrize("name", TASKS)
def test_the_initial_weights_are_a_function_of_the_seed(name):
    task = small.task(name)
    before = torch.get_rng_state()
    one, again, other = (task.build(seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", TASKS)
def test_outputs_and_targets_fit_each_other(name):
    task = small.task(name)
    model, batch = task.build(seed=0), task.batch(seed=0, step=0, batch_size=8)
    outputs = task.outputs(model, batch.inputs)
    assert outputs.shape[: batch.targets.dim()] == batch.targets.shape
    assert outputs.dim() == batch.targets.dim() + task.is_classification
    loss = task.loss(outputs, batch.targets)
    assert loss.shape == ()
    assert torch.isfinite(loss)
    scorer = task.scorer()
    scorer.add(outputs.detach(), batch.targets)
    assert scorer.results()


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("part", ["train", "validation", "test"])
def test_a_part_is_the_same_at_every_call_within_its_limit_and_never_augmented(name, part):
    task = small.task(name)
    word = "replace-0.5" if name == "text" else "mixup-1"
    augmented = task.with_recipe(parse_recipe(word))
    for limit in (64, 10_000):
        batches = task.part(part, limit)
        assert 0 < sum(batch.targets.numel() for batch in batches) <= limit
        for other in (task.part(part, limit), augmented.part(part, limit)):
            assert len(batches) == len(other)
            assert all(same(a, b) for a, b in zip(batches, other, strict=True))


@pytest.mark.parametrize("name", TASKS)
def test_what_is_recorded_is_json_and_tells_recipes_apart(name):
    task = small.task(name)
    for said in (task.describe(), task.settings(), task.state()):
        assert json.loads(json.dumps(said)) == said
    described = task.describe()
    assert described["unit"] == task.unit
    assert described["train_targets"] > 0
    word = "replace-0.5" if name == "text" else "mixup-1"
    augmented = task.with_recipe(parse_recipe(f"{word}+feed_forward_hidden-0.2"))
    assert augmented.settings() != task.settings()
    assert augmented.settings()["model"]["dropout"]["feed_forward_hidden"] == 0.2
    assert augmented.sha256 == task.sha256


@pytest.mark.parametrize("name", TASKS)
def test_every_task_trains_and_goes_on_to_the_same_bits(name, tmp_path):
    word = "replace-0.2" if name == "text" else "mixup-0.5"
    recipe = parse_recipe(f"feed_forward_hidden-0.3+drop_path-0.2+{word}")
    task = small.task(name, layers=2).with_recipe(recipe)
    straight, events = small.run(task, tmp_path / "straight", ema=0.9)

    def fail(step):
        if step == 5:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        small.run(task, tmp_path / "cut", progress=fail, ema=0.9)
    again, events_again = small.run(task, tmp_path / "cut", ema=0.9)
    assert without_seconds(events) == without_seconds(events_again)
    assert straight.status == "done"
    assert again.test_metrics_best == straight.test_metrics_best


@pytest.mark.parametrize("name", TASKS)
def test_a_run_counts_each_target_once_however_it_is_mixed(name, tmp_path):
    task = small.task(name)
    word = "replace-0.2" if name == "text" else "mixup-0.5"
    each = 8 * 8 * (16 if name == "text" else 1)  # steps, samples, tokens
    for recipe in ("none", word):
        result, _ = small.run(task.with_recipe(parse_recipe(recipe)), tmp_path / recipe)
        assert result.tokens == each, recipe


@pytest.mark.parametrize("name", TASKS)
def test_training_learns(name, tmp_path):
    changes = {"steps": 60, "eval_every": 60, "learning_rate": 1e-2, "min_learning_rate": 1e-3}
    task = small.task(name)
    _, (event, _) = small.run(task, tmp_path, **changes)
    batches = task.part("train", 256)
    model = task.build(seed=5)
    count = sum(batch.targets.numel() for batch in batches)
    total = sum(
        task.loss(task.outputs(model, batch.inputs), batch.targets).item() * batch.targets.numel()
        for batch in batches
    )
    assert event["train_eval_loss"] < total / count - 0.1
