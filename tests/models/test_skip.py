import pytest
import torch

from redrop.errors import UsageError
from redrop.mask import keep_mask, mask_key
from redrop.models.skip import Skip
from redrop.nn import LayerDrop, attach


class Holder(torch.nn.Module):
    """A layer that runs through a site beside it, and counts its runs."""

    def __init__(self, p):
        super().__init__()
        self.layer, self.skip, self.runs = torch.nn.Linear(4, 4), Skip(p), 0

    def forward(self, x):
        return self.skip(self.run, x)

    def run(self, x):
        self.runs += 1
        return self.layer(x)


def test_a_step_runs_the_layer_or_skips_it_as_the_reference_says():
    model = Holder(0.4)
    state = attach(model, seed=1)
    x, kept = torch.randn(3, 4), []
    for step in range(40):
        state.set_step(step)
        runs, y = model.runs, model(x)
        kept.append(bool(keep_mask(mask_key(1, step, "skip"), 0.4, ())))
        assert model.runs - runs == kept[-1]
        assert torch.equal(y, model.layer(x)) if kept[-1] else y is x
    assert 0 < sum(kept) < 40


def test_it_skips_when_layer_drop_does():
    layer = torch.nn.Linear(4, 4)
    x = torch.randn(3, 4)
    skip, wrapped = Skip(0.5), LayerDrop(layer, 0.5)
    for seed in range(20):
        torch.manual_seed(seed)
        one = skip(layer, x)
        torch.manual_seed(seed)
        assert torch.equal(one, wrapped(x))


@pytest.mark.parametrize("model", [Holder(0.0), Holder(1.0).eval()], ids=["p 0", "eval"])
def test_what_is_not_dropped_runs(model):
    x = torch.randn(3, 4)
    assert torch.equal(model(x), model.layer(x))


def test_the_names_inside_are_those_of_the_layer():
    assert set(dict(Holder(0.5).named_parameters())) == {"layer.weight", "layer.bias"}


def test_a_rate_outside_0_to_1_is_refused():
    with pytest.raises(UsageError, match="got 1.5"):
        Skip(1.5)
