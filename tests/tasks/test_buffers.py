"""A network with buffers that training changes (BatchNorm) is saved, averaged and resumed whole."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from redrop.nn import Dropout
from redrop.tasks.samples import SamplesTask
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from tests.tasks import small


@dataclass(frozen=True, eq=False)
class NormTask(SamplesTask):
    """Digits on a network with BatchNorm, one of them without learned scales."""

    def build(self, seed):
        before = torch.get_rng_state()
        torch.manual_seed(seed)
        layers = [
            nn.Flatten(), nn.Linear(64, 16), nn.BatchNorm1d(16), nn.ReLU(), Dropout(0.3),
            nn.BatchNorm1d(16, affine=False), nn.Linear(16, 10),
        ]  # fmt: skip
        torch.set_rng_state(before)
        return nn.Sequential(*layers)


@pytest.fixture
def task():
    base = small.task("digits on an mlp")
    return NormTask(base.samples, base.model)


def tensors(directory):
    return read_checkpoint(latest_checkpoint(directory)).tensors


@pytest.mark.parametrize("cut", [1, 4, 5, 7])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_it_goes_on_to_the_same_bits(task, tmp_path, cut, ema):
    straight, events = small.run(task, tmp_path / "straight", ema=ema)

    def fail(step):
        if step == cut:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        small.run(task, tmp_path / "cut", progress=fail, ema=ema)
    again, events_again = small.run(task, tmp_path / "cut", ema=ema)
    for one, other in zip(events, events_again, strict=True):
        assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert again.test_loss_best == straight.test_loss_best
    one, other = tensors(tmp_path / "straight"), tensors(tmp_path / "cut")
    for group in one.keys() - {"generator"}:
        assert one[group].keys() == other[group].keys()
        for name, tensor in one[group].items():
            assert torch.equal(tensor, other[group][name]), (group, name)


def test_the_statistics_are_in_the_checkpoint_and_move(task, tmp_path):
    small.run(task, tmp_path)
    weights = tensors(tmp_path)["weights"]
    assert weights["2.num_batches_tracked"].item() == 8
    assert weights["5.running_mean"].any()
    assert not torch.equal(weights["2.running_var"], torch.ones(16))


def test_an_evaluation_leaves_the_statistics_alone(task, tmp_path):
    small.run(task, tmp_path / "often", eval_every=1)
    small.run(task, tmp_path / "once", eval_every=8)
    often, once = (tensors(tmp_path / name)["weights"] for name in ("often", "once"))
    assert all(torch.equal(weight, once[name]) for name, weight in often.items())


def test_an_average_takes_the_statistics_and_leaves_the_counters(task, tmp_path):
    small.run(task, tmp_path, ema=0.9)
    found = tensors(tmp_path)
    assert "2.num_batches_tracked" not in found["average"]
    assert found["best_weights"]["2.num_batches_tracked"].item() in (4, 8)
    assert not torch.equal(found["average"]["2.running_mean"], found["weights"]["2.running_mean"])
