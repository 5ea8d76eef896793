"""What `redrop study --task NAME` would run: every arm builds, takes a step and is told apart."""

from dataclasses import replace

import pytest
import torch

from redrop.errors import UsageError
from redrop.study.arms import parse_arms
from redrop.study.plan import make_plan, planned_runs
from redrop.study.run import check_arms
from redrop.tasks.load import load_task
from redrop.tasks.presets import PRESETS, REFERENCE, preset
from redrop.tasks.spec import TaskSpec
from redrop.train import TrainConfig
from redrop.train.loop import train
from redrop.train.run import Run

ALL = {"reference": REFERENCE, **PRESETS}


def plan_of(chosen):
    spec = TaskSpec(
        kind=chosen.kind, source=chosen.source, network=chosen.network, limit=chosen.limit
    )
    task = load_task(spec)
    plan = make_plan(
        name=task.name,
        arms=parse_arms(chosen.arms),
        seeds=(0,),
        task=spec,
        model=task.settings()["model"],
        train=TrainConfig(
            steps=chosen.steps, batch_size=chosen.batch_size, warmup_steps=1, threads=1
        ),
        data=task.describe(),
        torch_version="2",
        margin=0.01,
        command="redrop study",
    )
    return task, plan


@pytest.mark.parametrize("name", ALL)
def test_a_preset_has_a_baseline_and_arms_of_several_families(name):
    chosen = ALL[name]
    arms = parse_arms(chosen.arms)
    assert chosen.seeds >= 2
    families = set()
    for arm in arms[1:]:
        families |= {
            group for group in ("dropout", "train", "model", "augment") if getattr(arm, group)
        }
        assert arm.label
    assert not arms[0].dropout
    assert families == {"dropout"} if name == "reference" else families >= {"dropout", "train"}


@pytest.mark.parametrize("name", ALL)
def test_every_arm_takes_a_step(name, tmp_path):
    task, plan = plan_of(ALL[name])
    check_arms(plan, task)
    runs = planned_runs(plan)
    assert len({run.id for run in runs}) == len(ALL[name].arms)
    seen = []
    for run in runs:
        config = replace(run.train, steps=1, eval_every=1, eval_tokens=128, checkpoint_every=0)
        result = train(
            task.with_recipe(run.arm, run.seed), config, tmp_path / run.name, lambda event: None
        )
        assert result.status == "done"
        seen.append(result.test_loss_final)
    assert all(loss is not None for loss in seen)


@pytest.mark.parametrize("name", ALL)
def test_arms_of_one_network_begin_with_the_same_weights(name):
    task, plan = plan_of(ALL[name])
    shapes = {}
    for run in planned_runs(plan):
        model = Run(task.with_recipe(run.arm, run.seed), run.train).model
        weights = dict(model.named_parameters())
        key = tuple((n, tuple(w.shape)) for n, w in weights.items())
        first = shapes.setdefault(key, weights)
        assert all(torch.equal(w, weights[n]) for n, w in first.items())
    assert len(shapes) <= 2  # the old network of the table is another one


def test_images_are_digits_and_nothing_is_the_reference():
    assert preset(None) is REFERENCE
    assert preset("images") is preset("digits") is PRESETS["digits"]
    with pytest.raises(UsageError, match="`task` must be one of text, digits, table, images; got"):
        preset("sound")
