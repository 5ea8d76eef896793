"""What trained networks lose when parts are dropped: masks, rates, weights are the right ones."""

import json
import shutil
from dataclasses import replace
from statistics import fmean

import pytest
import torch

from redrop.errors import UsageError
from redrop.mask import keep_mask, mask_key
from redrop.models.mode import eval_mode
from redrop.study.engine import open_study
from redrop.study.plan import planned_runs
from redrop.study.records import read_study
from redrop.study.robustness import measure_robustness
from redrop.study.run import execute
from redrop.tasks.load import load_task
from redrop.tasks.text import TextTask
from redrop.train.checkpoint import (
    Snapshot,
    latest_checkpoint,
    read_checkpoint,
    write_checkpoint,
)
from redrop.train.load import load_trained
from tests.study import small

ARMS = ("none", "all-0.3", "attention_weights-0.4+norm-post", "all-0.1+concrete-0.01")
SITE, MODULE = "embedding", "embedding_dropout"


def trained(folder, plan):
    plan = open_study(folder, plan)
    for run in planned_runs(plan):
        execute(folder, plan, run, lambda event: None)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("study"), small.plan(arms=ARMS))


def measure(study, **changes):
    asked = {"site": SITE, "rates": (0.2, 0.5), "draws": 2, "observe": lambda run: None}
    return measure_robustness(study, **asked | changes)


def loss_under_reference(model, batches, *, seed, p, draw):
    """The loss in eval mode, with the masks of the definition laid on what the site gets."""
    passes = iter(range(len(batches)))

    def drop(module, args, output):
        shape = tuple(args[0].shape)
        keep = keep_mask(mask_key(seed, draw, MODULE, next(passes)), p, shape)
        return torch.where(torch.from_numpy(keep), args[0] / (1 - p), 0.0)

    hook = model.get_submodule(MODULE).register_forward_hook(drop)
    with eval_mode(model):
        losses = [
            torch.nn.functional.cross_entropy(model(b.inputs).flatten(0, 1), b.targets.flatten())
            for b in batches
        ]
    hook.remove()
    return fmean(loss.item() for loss in losses)


def test_the_masks_are_those_of_the_definition_at_no_other_site(finished):
    study = read_study(finished)
    found = measure(study)
    batches = load_task(small.SPEC, small.MODEL).part("validation", 256)
    assert len({batch.targets.numel() for batch in batches}) == 1
    costs = {(cost.arm, cost.p): cost for cost in found.costs}
    for run in planned_runs(study.plan):
        if "concrete" in run.arm.name:  # its learned rates are no weights of the plain network
            continue
        model = load_trained(finished / "checkpoints" / run.name).model
        for p in (0.2, 0.5):
            expected = fmean(
                loss_under_reference(model, batches, seed=run.seed, p=p, draw=draw)
                for draw in range(2)
            )
            assert costs[run.arm.name, p].losses[run.seed] == pytest.approx(expected, abs=1e-5)


def test_a_cost_is_the_loss_above_that_of_the_best_weights_without_dropout(finished):
    study = read_study(finished)
    found = measure(study)
    assert [(cost.arm, cost.p) for cost in found.costs] == [
        (arm, p) for arm in ARMS for p in (0.2, 0.5)
    ]
    for cost in found.costs:
        for seed, run in study.of_arm(cost.arm).items():
            without = cost.losses[seed] - cost.costs[seed]
            assert without == pytest.approx(run.end.best_validation_loss, abs=1e-5)
    assert measure(study).to_dict() == found.to_dict()
    assert {cost.p: cost.mean for cost in found.costs[:2]}[0.5] > found.costs[0].mean


def test_the_weights_of_the_end_are_not_what_is_measured(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    before = measure(read_study(folder), rates=(0.5,))
    for run in (folder / "checkpoints").iterdir():
        newest = latest_checkpoint(run)
        kept = read_checkpoint(newest)
        last = {name: torch.zeros_like(weight) for name, weight in kept.tensors["weights"].items()}
        shutil.rmtree(newest)
        write_checkpoint(run, newest.name, Snapshot(kept.state, {**kept.tensors, "weights": last}))
    assert measure(read_study(folder), rates=(0.5,)) == before


def test_a_network_without_a_finite_loss_is_not_measured(finished, monkeypatch):
    """An infinity in a mean would be no number, and none in JSON."""
    loss = TextTask.loss
    calls = iter(range(10**6))
    monkeypatch.setattr(
        TextTask,
        "loss",
        lambda *asked: loss(*asked) * (float("inf") if next(calls) == 0 else 1.0),
    )
    study = read_study(finished)
    found = measure(study, rates=(0.5,))
    first = planned_runs(study.plan)[0]
    assert found.missing == (first.name,)
    json.dumps(found.to_dict(), allow_nan=False)


def test_arms_are_compared_with_the_baseline_seed_by_seed(finished):
    found = measure(read_study(finished))
    for cost in found.costs:
        if cost.arm == "none":
            assert cost.difference is None
            continue
        theirs = next(c for c in found.costs if (c.arm, c.p) == ("none", cost.p)).costs
        gaps = [cost.costs[seed] - theirs[seed] for seed in (0, 1)]
        assert cost.difference.mean == pytest.approx(fmean(gaps))
        assert (cost.difference.pairs, cost.difference.tests) == (2, 6)


def test_the_test_data_stay_unread_and_nothing_is_written(finished, monkeypatch):
    asked = []
    part = TextTask.part
    monkeypatch.setattr(
        TextTask, "part", lambda task, name, limit: asked.append(name) or part(task, name, limit)
    )
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    measure(read_study(finished))
    assert set(asked) == {"validation"}
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_it_says_what_was_measured(finished):
    told = []
    study = read_study(finished)
    found = measure(study, rates=(0.5,), observe=lambda run: told.append(run.name))
    assert told == [run.name for run in planned_runs(study.plan)]
    baseline, *others = found.costs
    least = min(others, key=lambda cost: cost.mean)
    assert found.sentences == (
        f"Dropping embedding at p = 0.5 costs no dropout {baseline.mean:.3f} and {least.label} "
        f"{least.mean:.3f} nats, the least: {least.compared}.",
    )
    alone = replace(found, costs=(baseline,))
    assert alone.sentences[0].endswith(f"costs no dropout {baseline.mean:.3f} nats.")
    best = replace(found, costs=(baseline, replace(least, costs={0: 9.0})))
    assert best.sentences[0].endswith(f"{baseline.mean:.3f} nats, and every other arm more.")
    assert found.to_dict()["costs"][1]["difference"]["low"] == found.costs[1].difference.low


def test_what_has_no_network_is_named_and_the_baseline_is_needed(finished, tmp_path):
    folder = shutil.copytree(finished, tmp_path / "copy")
    study = read_study(folder)
    runs = {(run.arm.name, run.seed): run for run in planned_runs(study.plan)}
    removed, diverged, unfinished = ((arm, 1) for arm in ARMS[1:])
    shutil.rmtree(folder / "checkpoints" / runs[removed].name)
    ended = []
    for run in study.runs:
        place = (run.header.arm, run.header.seed)
        status = "diverged" if place == diverged else run.end.status
        if place != unfinished:
            ended.append(replace(run, end=replace(run.end, status=status)))
    found = measure(replace(study, runs=tuple(ended)), rates=(0.5,))
    assert set(found.missing) == {runs[place].name for place in (removed, diverged, unfinished)}
    assert [len(cost.costs) for cost in found.costs] == [2, 1, 1, 1]
    for seed in (0, 1):
        shutil.rmtree(folder / "checkpoints" / runs["none", seed].name)
    with pytest.raises(UsageError, match="holds no trained network of its baseline"):
        measure(study)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rates": ()}, r"`rates` are different numbers in \(0, 1\); got none"),
        ({"rates": (0.1, 1.0)}, "got 0.1 1. Pass"),
        ({"rates": (0.0,)}, "got 0. Pass"),
        ({"rates": (0.1, 0.1)}, "got 0.1 0.1"),
        ({"rates": (float("nan"),)}, "got nan"),
        ({"draws": 0}, "`draws` must be at least 1; got 0"),
        ({"site": "pre_activation"}, "drops at pre_activation, none of which this network has"),
        ({"site": "blocks.9"}, "`blocks.9`"),
    ],
)
def test_what_cannot_be_measured_is_one_line(finished, changes, message):
    with pytest.raises(UsageError, match=message):
        measure(read_study(finished), **changes)
