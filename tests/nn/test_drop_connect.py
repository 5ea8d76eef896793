import copy
import inspect
import math
import pickle

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from redrop import nn
from redrop.errors import UsageError
from redrop.mask import Window
from redrop.mask import replay as replay_from_integers
from redrop.nn.drop_connect import drop_connect
from tests.nn.expected import dropped, reference

KEY = 0x8B1EF9904FBD598E


@given(
    key=st.integers(0, 2**64 - 1),
    p=st.floats(0, 1),
    sizes=st.tuples(*[st.integers(1, 9)] * 3),
    has_bias=st.booleans(),
)
def test_single_weights_are_dropped_and_rescaled(key, p, sizes, has_bias):
    rows, wide, deep = sizes
    x, weight = torch.randn(rows, wide), torch.randn(deep, wide)
    bias = torch.randn(deep) if has_bias else None
    expected = F.linear(x, dropped(weight, key, p), bias)
    assert torch.equal(drop_connect(x, weight, bias, key, p), expected)


def test_gradients():
    x, weight, bias = (
        torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (2, 4), 2)
    )
    assert torch.autograd.gradcheck(lambda *a: drop_connect(*a, KEY, 0.4), (x, weight, bias))
    assert torch.autograd.gradgradcheck(lambda *a: drop_connect(*a, KEY, 0.4), (x, weight, bias))


def test_dropped_weights_get_no_gradient_and_kept_ones_the_rescaled():
    weight = torch.randn(5, 6, requires_grad=True)
    x = torch.randn(3, 6)
    drop_connect(x, weight, None, KEY, 0.4).sum().backward()
    expected = dropped(x.sum(0).expand(5, 6), KEY, 0.4)
    torch.testing.assert_close(weight.grad, expected)
    assert torch.equal(weight.grad == 0, ~reference(KEY, 0.4, (5, 6)))


def test_attached_it_gets_the_mask_of_its_name_step_and_pass():
    model = torch.nn.Sequential(nn.DropConnect(6, 5, p=0.4))
    state = nn.attach(model, seed=3)
    x = torch.randn(2, 6)
    for step in (0, 7):
        for offset in (0, 2):  # the mask is over weights: micro-batches share it
            state.set_step(step, sample_offset=offset)
            for pass_ in (0, 1):
                by_name = replay_from_integers(
                    seed=3, step=step, site="0", p=0.4, shape=(5, 6), pass_=pass_
                )
                kept = torch.from_numpy(by_name)
                weight = torch.where(kept, model[0].weight / 0.6, 0.0)
                torch.testing.assert_close(model(x), F.linear(x, weight, model[0].bias))
                by_model = nn.replay(model, "0", step=step, shape=(5, 6), pass_=pass_)
                assert torch.equal(by_model, kept)


def test_eval_mode_and_p_0_are_the_linear_layer_and_draw_nothing():
    x = torch.randn(2, 6)
    for layer in (nn.DropConnect(6, 5).eval(), nn.DropConnect(6, 5, p=0.0)):
        before = torch.get_rng_state()
        assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
        assert torch.equal(before, torch.get_rng_state())


def test_p_1_leaves_the_bias_and_gives_no_gradient():
    layer = nn.DropConnect(6, 5, p=1.0)
    x = torch.randn(2, 6, requires_grad=True)
    y = layer(x)
    assert torch.equal(y, layer.bias.expand(2, 5))
    y.sum().backward()
    assert not x.grad.any()
    assert not layer.weight.grad.any()


def test_it_is_a_drop_in_with_the_state_of_a_linear_layer():
    ours, theirs = (inspect.signature(cls.__init__) for cls in (nn.DropConnect, torch.nn.Linear))
    assert [(p.name, p.default) for p in ours.parameters.values()][:-1] == [
        (p.name, p.default) for p in theirs.parameters.values()
    ]
    linear = torch.nn.Linear(6, 5, dtype=torch.float64)
    layer = nn.DropConnect(6, 5, dtype=torch.float64, p=0.3)
    layer.load_state_dict(linear.state_dict())
    x = torch.randn(2, 6, dtype=torch.float64)
    assert torch.equal(layer.eval()(x), linear(x))
    assert repr(layer) == "DropConnect(in_features=6, out_features=5, bias=True, p=0.3)"
    assert nn.DropConnect(6, 5, False).bias is None


def test_pickle_and_deepcopy_keep_what_it_is():
    layer = nn.DropConnect(6, 5, p=0.3)
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        assert (type(twin), twin.p) == (nn.DropConnect, 0.3)
        assert torch.equal(twin.weight, layer.weight)


@pytest.mark.parametrize("p", [1.5, -0.1, math.nan])
def test_bad_p_is_refused_when_it_is_made_and_when_it_is_used(p):
    with pytest.raises(UsageError, match="`p` must lie in"):
        nn.DropConnect(3, 3, p=p)
    late = nn.DropConnect(3, 3)
    late.p = p
    with pytest.raises(UsageError, match="`p` must lie in"):
        late(torch.ones(3))


def test_a_weight_split_over_processes_has_its_part_of_the_mask():
    weight, x = torch.randn(6, 8), torch.randn(2, 8)
    whole = drop_connect(x, weight, None, KEY, 0.5)
    rows = drop_connect(x, weight[2:5], None, KEY, 0.5, window=Window((6, 8), (2, 0)))
    torch.testing.assert_close(rows, whole[:, 2:5])


def test_compiled_equals_eager_step_by_step():
    model = torch.nn.Sequential(nn.DropConnect(6, 5, p=0.4))
    state = nn.attach(model, seed=6)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 6)
    for step in (0, 3):
        state.set_step(step)
        y = compiled(x)
        (grad,) = torch.autograd.grad(y.sum(), model[0].weight)
        state.set_step(step)
        y_eager = model(x)
        (grad_eager,) = torch.autograd.grad(y_eager.sum(), model[0].weight)
        assert torch.equal(y, y_eager)
        assert torch.equal(grad, grad_eager)


def test_share_of_dropped_weights_is_p():
    """Binomial limits; a right layer fails with probability at most 2e-9."""
    y = drop_connect(torch.eye(300), torch.ones(200, 300), None, KEY, 0.3)
    low, high = binom.ppf([1e-9, 1 - 1e-9], y.numel(), 0.3)
    assert low <= int((y == 0).sum()) <= high
