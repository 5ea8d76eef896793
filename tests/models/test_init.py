import math

import pytest
import torch
from torch import nn

from redrop.models.init import initialise


class Tower(nn.Module):
    """A table, a norm, and a matrix that writes into the residual stream."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(400, 300)
        self.norm = nn.LayerNorm(300)
        self.inner = nn.Linear(300, 500)
        self.feed_forward = nn.ModuleDict({"contract": nn.Linear(500, 300)})


def weights(name, *, seed=0, branches=8):
    tower = Tower()
    initialise(tower, name, seed=seed, branches=branches)
    return dict(tower.named_parameters())


DEVIATIONS = {
    "gpt2": {"table": 0.02, "inner": 0.02, "feed_forward.contract": 0.02 / math.sqrt(8)},
    "xavier": {
        "table": math.sqrt(2 / 700),
        "inner": math.sqrt(2 / 800),
        "feed_forward.contract": math.sqrt(2 / 800),
    },
    "kaiming": {
        "table": math.sqrt(2 / 300),
        "inner": math.sqrt(2 / 300),
        "feed_forward.contract": math.sqrt(2 / 500),
    },
    "torch": {
        "table": 1.0,
        "inner": 1 / math.sqrt(3 * 300),
        "feed_forward.contract": 1 / math.sqrt(3 * 500),
    },
}


@pytest.mark.parametrize("name", DEVIATIONS)
def test_matrices_have_the_deviation_of_the_rule(name):
    found = weights(name)
    for matrix, deviation in DEVIATIONS[name].items():
        drawn = found[f"{matrix}.weight"].detach()
        # 120,000 draws and more: the standard error is at most 0.21 % of the deviation, so 1.5 %
        # and 5 standard errors of the mean are passed by chance once in a million
        assert drawn.std().item() == pytest.approx(deviation, rel=0.015), matrix
        assert abs(drawn.mean().item()) < 5 * deviation / math.sqrt(drawn.numel()), matrix


@pytest.mark.parametrize(("name", "is_uniform"), [("gpt2", 0), ("xavier", 1), ("kaiming", 0)])
def test_the_largest_weight_tells_normal_from_uniform(name, is_uniform):
    drawn = weights(name)["inner.weight"].detach()
    assert (drawn.abs().max() < 1.75 * drawn.std()) == bool(is_uniform)


@pytest.mark.parametrize("name", ["gpt2", "xavier", "kaiming"])
def test_biases_begin_at_0_and_gains_at_1(name):
    found = weights(name)
    assert not found["inner.bias"].any()
    assert not found["feed_forward.contract.bias"].any()
    assert bool((found["norm.weight"] == 1).all())


def test_torch_is_what_the_layers_draw_for_themselves():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        expected = dict(Tower().named_parameters())
    found = weights("torch", seed=4)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("name", DEVIATIONS)
def test_the_seed_decides_and_torchs_generator_is_not_touched(name):
    tower = Tower()
    before = torch.get_rng_state()
    drawn = []
    for seed in (1, 1, 2):
        initialise(tower, name, seed=seed, branches=1)
        drawn.append(tower.inner.weight.detach().clone())
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(torch.get_rng_state(), before)
