import copy
import math
import pickle

import pytest
import torch
from scipy.stats import binom
from torch.utils.checkpoint import checkpoint

from redrop import nn
from redrop.errors import UsageError
from redrop.mask import keep_mask, mask_key
from redrop.nn.layer_drop import layer_drop
from redrop.ops.key import signed


class Residual(torch.nn.Module):
    """A block with its shortcut inside, a site of its own, and a count of its runs."""

    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)
        self.drop = nn.Dropout(0.5)
        self.runs = 0

    def forward(self, x, gain=1.0, *, shift=0.0):
        self.runs += 1
        return x + gain * self.drop(self.linear(x)) + shift


def is_kept(seed, step, name="0", pass_=0, p=0.5):
    return bool(keep_mask(mask_key(seed, step, name, pass_), p, ()))


def attached(p=0.5, seed=1):
    model = torch.nn.Sequential(nn.LayerDrop(Residual(), p))
    return model, nn.attach(model, seed=seed)


def test_a_step_runs_the_layer_or_skips_it_as_the_reference_says():
    model, state = attached()
    x = torch.randn(3, 4)
    kept = []
    for step in range(40):
        state.set_step(step)
        runs = model[0].layer.runs
        y = model(x)
        kept.append(is_kept(1, step))
        assert model[0].layer.runs - runs == kept[-1]
        assert (y is x) == (not kept[-1])
    assert 0 < sum(kept) < 40


def test_what_is_kept_is_not_rescaled():
    model, state = attached()
    x = torch.randn(3, 4)
    step = next(step for step in range(100) if is_kept(1, step))
    state.set_step(step)
    y = model(x)
    model[0].layer.drop.site.passes = 0
    assert torch.equal(y, model[0].layer(x))


def test_samples_and_shapes_share_the_decision():
    for step in range(10):
        model, state = attached()
        for offset, shape in ((0, (4,)), (5, (2, 4)), (9, (2, 3, 4))):
            state.set_step(step, sample_offset=offset)
            x = torch.randn(shape)
            assert (model(x) is x) == (not is_kept(1, step))
            replayed = nn.replay(model, "0", step=step, shape=shape)
            assert torch.equal(replayed, torch.full(shape, is_kept(1, step)))


def test_each_use_in_a_step_has_its_decision():
    model, state = attached()
    state.set_step(3)
    x = torch.randn(3, 4)
    skipped = [model(x) is x for _ in range(20)]
    assert skipped == [not is_kept(1, 3, pass_=pass_) for pass_ in range(20)]


def test_eval_mode_and_p_0_run_the_layer_and_draw_nothing_of_their_own():
    x = torch.randn(3, 4)
    model, _ = attached(p=1.0)
    model.eval()
    assert torch.equal(model(x), model[0].layer(x))
    never, _ = attached(p=0.0)
    never.train()
    never[0].layer.eval()
    before = torch.get_rng_state()
    assert torch.equal(never(x), never[0].layer(x))
    assert torch.equal(before, torch.get_rng_state())


def test_p_1_skips_always():
    model, _ = attached(p=1.0)
    x = torch.randn(3, 4)
    assert model(x) is x
    assert model[0].layer.runs == 0


def test_more_arguments_reach_the_layer():
    layer = Residual().eval()
    x = torch.randn(3, 4)
    y = layer_drop(layer, x, 2.0, key=0, p=0.0, shift=1.0)
    assert torch.equal(y, layer(x, 2.0, shift=1.0))
    wrapped = nn.LayerDrop(layer, 0.5).eval()
    assert torch.equal(wrapped(x, 2.0, shift=1.0), y)


def test_gradients_pass_the_skipped_layer_untouched():
    model, state = attached()
    x = torch.randn(3, 4, requires_grad=True)
    state.set_step(next(step for step in range(100) if not is_kept(1, step)))
    model(x).backward(torch.ones(3, 4))
    assert torch.equal(x.grad, torch.ones(3, 4))
    assert model[0].layer.linear.weight.grad is None


@pytest.mark.parametrize("use_reentrant", [False, True])
def test_recomputation_takes_the_decision_of_its_forward(use_reentrant):
    for seed in range(6):
        model, _ = attached(seed=seed)
        x = torch.randn(3, 4, requires_grad=True)
        y = x
        for _ in range(3):
            y = checkpoint(model[0], y, use_reentrant=use_reentrant)
        y.sum().backward()
        nn.attach(model, seed=seed)
        plain = x
        for _ in range(3):
            plain = model[0](plain)
        assert torch.equal(y, plain)
        (expected,) = torch.autograd.grad(plain.sum(), x)
        torch.testing.assert_close(x.grad, expected, rtol=1e-6, atol=1e-6)


def test_compiled_equals_eager_step_by_step():
    model, state = attached()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(3, 4, requires_grad=True)
    for step in range(6):
        state.set_step(step)
        y = compiled(x)
        (grad,) = torch.autograd.grad(y.sum(), x)
        state.set_step(step)
        y_eager = model(x)
        (grad_eager,) = torch.autograd.grad(y_eager.sum(), x)
        torch.testing.assert_close(y, y_eager)
        torch.testing.assert_close(grad, grad_eager)


def test_a_key_in_a_tensor_decides_alike():
    x = torch.randn(3, 4)
    layer = Residual().eval()
    for key in (mask_key(0, step, "a") for step in range(20)):
        traced = layer_drop(layer, x, key=torch.tensor(signed(key)), p=0.5)
        assert torch.equal(traced, layer_drop(layer, x, key=key, p=0.5))


@pytest.mark.parametrize(
    ("layer", "came"),
    [(torch.nn.Linear(4, 3), r"\(2, 3\) from \(2, 4\)"), (torch.nn.GRU(4, 4), "tuple from")],
    ids=["other shape", "tuple"],
)
def test_a_layer_that_cannot_be_skipped_is_refused(layer, came):
    with pytest.raises(UsageError, match=came):
        layer_drop(layer, torch.randn(2, 4), key=0, p=1e-12)


@pytest.mark.parametrize("p", [1.5, -0.1, math.nan])
def test_bad_p_is_refused_when_it_is_made_and_when_it_is_used(p):
    with pytest.raises(UsageError, match="`p` must lie in"):
        nn.LayerDrop(torch.nn.Identity(), p)
    late = nn.LayerDrop(torch.nn.Identity(), 0.5)
    late.p = p
    with pytest.raises(UsageError, match="`p` must lie in"):
        late(torch.ones(3))


def test_pickle_and_deepcopy_keep_what_it_is():
    model, state = attached(p=0.3)
    state.set_step(2)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert "p=0.3" in repr(twin[0])
        assert list(twin.state_dict()) == ["0.layer.linear.weight", "0.layer.linear.bias"]
        assert twin[0].site.state.step == 2


def test_share_of_skipped_steps_is_p():
    """Binomial limits; a right layer fails with probability at most 2e-9."""
    x, steps = torch.ones(1), 5000
    layer = nn.LayerDrop(torch.nn.Tanh(), 0.2)
    nn.attach(torch.nn.Sequential(layer), seed=0)
    skipped = sum(layer(x) is x for _ in range(steps))
    low, high = binom.ppf([1e-9, 1 - 1e-9], steps, 0.2)
    assert low <= skipped <= high
