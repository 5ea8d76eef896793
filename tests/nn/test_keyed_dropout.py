"""What all dropout layers promise, whichever dimensions share a decision."""

import copy
import inspect
import math
import pickle

import pytest
import torch
from scipy.stats import binom
from torch.utils.checkpoint import checkpoint

from redrop import nn
from redrop.errors import UsageError
from redrop.mask import Window, mask_key
from redrop.mask import replay as replay_from_integers
from tests.nn.expected import reference

KEY = 0x8B1EF9904FBD598E

# Layer, a shape it takes, and the dimensions that share a decision, written out once more.
SHARING = [
    pytest.param(nn.DropPath, (6, 3, 4), (1, 2), id="DropPath"),
    pytest.param(nn.TokenDropout, (6, 5, 4), (2,), id="TokenDropout"),
    pytest.param(nn.LockedDropout, (6, 5, 4), (1,), id="LockedDropout"),
    pytest.param(nn.Dropout1d, (6, 5, 4), (2,), id="Dropout1d"),
    pytest.param(nn.Dropout2d, (6, 5, 3, 4), (2, 3), id="Dropout2d"),
    pytest.param(nn.Dropout3d, (6, 5, 2, 3, 4), (2, 3, 4), id="Dropout3d"),
    pytest.param(nn.DropHead, (6, 5, 3, 4), (2, 3), id="DropHead"),
    pytest.param(nn.AlphaDropout, (6, 5, 4), (), id="AlphaDropout"),
    pytest.param(nn.FeatureAlphaDropout, (6, 5, 3, 4), (2, 3), id="FeatureAlphaDropout"),
]
MASKING = [pytest.param(*case.values[:2], id=case.id) for case in SHARING]
ALL = [*MASKING, pytest.param(nn.GaussianDropout, (6, 5, 4), id="GaussianDropout")]


def kept_of(y):
    """The mask of a layer that was given ones: what is dropped becomes 0, or negative (alpha)."""
    return y > 0


@pytest.mark.parametrize(("layer", "shape", "shared"), SHARING)
def test_the_decision_is_shared_by_the_right_dimensions(layer, shape, shared):
    y = layer.function(torch.ones(shape), KEY, 0.5)
    assert torch.equal(kept_of(y), reference(KEY, 0.5, shape, shared=shared))


@pytest.mark.parametrize(("layer", "shape", "shared"), SHARING)
def test_attached_it_gets_the_mask_of_its_name_step_and_pass(layer, shape, shared):
    model = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Sequential(layer(0.5)))
    state = nn.attach(model, seed=3)
    for step in (0, 7):
        state.set_step(step)
        for pass_ in (0, 1):
            kept = kept_of(model(torch.ones(shape)))
            by_name = replay_from_integers(
                seed=3, step=step, site="1.0", p=0.5, shape=shape, pass_=pass_, shared=shared
            )
            assert torch.equal(kept, torch.from_numpy(by_name))
            by_model = nn.replay(model, "1.0", step=step, shape=shape, pass_=pass_)
            assert torch.equal(kept, by_model)


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_micro_batches_together_give_the_batch(layer, shape):
    model = torch.nn.Sequential(layer(0.4))
    state = nn.attach(model, seed=5)
    x = torch.randn(shape)
    state.set_step(2)
    whole = model(x)
    for first in (0, 2, 4):
        state.set_step(2, sample_offset=first)
        assert torch.equal(model(x[first : first + 2]), whole[first : first + 2])


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_a_window_of_the_function_gives_its_part_of_the_whole(layer, shape):
    x = torch.randn(shape)
    offset = (1, 2, *(0,) * (len(shape) - 2))
    part = layer.function(x[1:4, 2:4], KEY, 0.4, window=Window(shape, offset))
    assert torch.equal(part, layer.function(x, KEY, 0.4)[1:4, 2:4])


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_eval_mode_and_p_0_return_the_very_same_tensor_and_draw_nothing(layer, shape):
    x = torch.randn(shape)
    before = torch.get_rng_state()
    assert layer(0.5).eval()(x) is x
    assert layer(0.0)(x) is x
    assert torch.equal(before, torch.get_rng_state())
    assert layer(0.5)(x) is not x
    assert layer.function(x, KEY, 0.0) is x


@pytest.mark.parametrize(("layer", "shape"), MASKING)
def test_p_1_gives_zeros_and_zero_gradients_whatever_the_input(layer, shape):
    x = torch.full(shape, math.inf, requires_grad=True)
    y = layer(1.0)(x)
    assert torch.equal(y, torch.zeros(shape))
    y.backward(torch.full(shape, math.nan))
    assert torch.equal(x.grad, torch.zeros(shape))


@pytest.mark.parametrize(("layer", "shape"), ALL)
@pytest.mark.parametrize("p", [1.5, -0.1, math.nan])
def test_bad_p_is_refused_when_it_is_made_and_when_it_is_used(layer, shape, p):
    with pytest.raises(UsageError, match="`p` must lie in"):
        layer(p)
    late = layer(0.5)
    late.p = p
    with pytest.raises(UsageError, match="`p` must lie in"):
        late(torch.ones(shape))


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_manual_seed_makes_it_repeatable_and_each_call_differs(layer, shape):
    drop, x = layer(0.5), torch.ones((64, *shape[1:]))
    torch.manual_seed(0)
    first, second = drop(x), drop(x)
    torch.manual_seed(0)
    assert torch.equal(drop(x), first)
    assert not torch.equal(first, second)


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_pickle_and_deepcopy_keep_what_it_is(layer, shape):
    drop = layer(0.3, inplace=True).eval()
    for twin in (pickle.loads(pickle.dumps(drop)), copy.deepcopy(drop)):
        assert (type(twin), twin.p, twin.inplace, twin.training) == (layer, 0.3, True, False)
        assert repr(twin) == f"{layer.__name__}(p=0.3, inplace=True)"
        assert twin.state_dict() == {}


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_inplace_writes_into_the_input_and_differentiates(layer, shape):
    x = torch.randn(shape, requires_grad=True)
    hidden = x * 1
    y = layer.function(hidden, KEY, 0.4, inplace=True)
    assert y.data_ptr() == hidden.data_ptr()
    plain = layer.function(x, KEY, 0.4)
    assert torch.equal(y, plain)
    (ours,) = torch.autograd.grad(y.square().sum(), x)
    (theirs,) = torch.autograd.grad(plain.square().sum(), x)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_the_inplace_argument_reaches_the_function(layer, shape):
    x = torch.ones((32, *shape[1:]))
    y = layer(0.5, inplace=True)(x)
    assert y.data_ptr() == x.data_ptr()
    assert torch.equal(x, y)
    assert (x != 1).any()


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_gradients_and_their_gradients(layer, shape):
    x = torch.randn(tuple(min(size, 3) for size in shape), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: layer.function(x, KEY, 0.3), x)
    assert torch.autograd.gradgradcheck(lambda x: layer.function(x, KEY, 0.3) ** 2, x)


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_nothing_of_the_size_of_a_mask_is_saved_for_backward(layer, shape):
    saved = []
    x = torch.randn(shape, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda t: t):
        layer.function(x, KEY, 0.5)
    assert (
        sum(t.numel() for t in saved) <= shape[0]
    )  # DropHead: one factor per sample; GaussianDropout: the key


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_narrow_types_are_rounded_once(layer, shape, dtype):
    x = torch.randn(shape).to(dtype)
    y = layer.function(x, KEY, 0.4)
    assert y.dtype == dtype
    assert torch.equal(y, layer.function(x.float(), KEY, 0.4).to(dtype))


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_compiled_equals_eager_step_by_step(layer, shape):
    model = torch.nn.Sequential(layer(0.4))
    state = nn.attach(model, seed=6)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    x = torch.randn(shape, requires_grad=True)
    for step in (0, 3):
        state.set_step(step)
        y = compiled(x)
        (grad,) = torch.autograd.grad(y.square().sum(), x)
        state.set_step(step)
        y_eager = model(x)
        (grad_eager,) = torch.autograd.grad(y_eager.square().sum(), x)
        assert torch.equal(y, y_eager)
        assert torch.equal(grad, grad_eager)


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_torch_func_transforms(layer, shape):
    """Under vmap all examples share a mask: its coordinates are those of one example."""
    x = torch.randn(3, *shape)
    at_once = torch.func.vmap(lambda one: layer.function(one, KEY, 0.4))(x)
    assert torch.equal(at_once, torch.stack([layer.function(one, KEY, 0.4) for one in x]))
    gradient = torch.func.grad(lambda one: layer.function(one, KEY, 0.4).square().sum())(x[0])
    one = x[0].clone().requires_grad_()
    (expected,) = torch.autograd.grad(layer.function(one, KEY, 0.4).square().sum(), one)
    assert torch.equal(gradient, expected)


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_recomputation_meets_the_mask_of_its_forward(layer, shape):
    drop = layer(0.5)
    nn.attach(torch.nn.Sequential(drop), seed=1)
    x = torch.randn(shape, requires_grad=True)
    y = checkpoint(lambda x: drop(x).square(), x, use_reentrant=False)
    drop(x)  # a second use before the recomputation of the first
    (grad,) = torch.autograd.grad(y.sum(), x)
    key = mask_key(1, 0, "0")
    (expected,) = torch.autograd.grad(layer.function(x, key, 0.5).square().sum(), x)
    assert torch.equal(grad, expected)


@pytest.mark.parametrize(("layer", "shape", "shared"), SHARING)
def test_share_of_dropped_decisions_is_p(layer, shape, shared):
    """Binomial limits; a right layer fails with probability at most 2e-9 per case."""
    p, many = 0.3, (4000, *shape[1:])
    once = tuple(slice(1) if dim in shared else slice(None) for dim in range(len(shape)))
    decisions = kept_of(layer.function(torch.ones(many), KEY, p))[once]
    low, high = binom.ppf([1e-9, 1 - 1e-9], decisions.numel(), p)
    assert low <= int((~decisions).sum()) <= high


@pytest.mark.parametrize(
    ("layer", "theirs"),
    [
        (nn.Dropout1d, torch.nn.Dropout1d),
        (nn.Dropout2d, torch.nn.Dropout2d),
        (nn.Dropout3d, torch.nn.Dropout3d),
        (nn.AlphaDropout, torch.nn.AlphaDropout),
        (nn.FeatureAlphaDropout, torch.nn.FeatureAlphaDropout),
    ],
)
def test_layers_that_torch_has_are_drop_ins(layer, theirs):
    assert issubclass(layer, theirs)
    ours, torchs = (inspect.signature(cls.__init__) for cls in (layer, theirs))
    assert [(p.name, p.default) for p in ours.parameters.values()] == [
        (p.name, p.default) for p in torchs.parameters.values()
    ]


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.DropPath, (), "dimension of samples"),
        (nn.TokenDropout, (3, 4), r"\(batch, time, channels\)"),
        (nn.TokenDropout, (2, 3, 4, 5), r"\(batch, time, channels\)"),
        (nn.LockedDropout, (3, 4), r"\(batch, time, channels\)"),
        (nn.Dropout1d, (3,), r"\(N, C, L\)"),
        (nn.Dropout1d, (2, 3, 4, 5), r"\(N, C, L\)"),
        (nn.Dropout2d, (3, 4), r"\(N, C, H, W\)"),
        (nn.Dropout2d, (2, 3, 4, 5, 6), r"\(N, C, H, W\)"),
        (nn.Dropout3d, (2, 3, 4), r"\(N, C, D, H, W\)"),
        (nn.DropHead, (2, 3, 4), "before the heads are joined"),
        (nn.FeatureAlphaDropout, (3,), r"\(N, C, …\)"),
    ],
)
def test_a_shape_without_a_rule_is_refused_in_use_and_in_replay(layer, shape, message):
    model = torch.nn.Sequential(layer(0.5))
    nn.attach(model, seed=0)
    with pytest.raises(UsageError, match=message):
        model(torch.ones(shape))
    with pytest.raises(UsageError, match=message):
        nn.replay(model, "0", step=0, shape=shape)
    x = torch.ones(shape)
    assert model.eval()(x) is x


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64], ids=str)
@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_a_dtype_without_dropout_is_refused(layer, shape, dtype):
    with pytest.raises(UsageError, match=f"got {dtype}"):
        layer(0.5)(torch.ones(shape, dtype=dtype))


@pytest.mark.parametrize(("layer", "shape"), ALL)
def test_empty_tensors_pass(layer, shape):
    assert layer(0.5)(torch.ones((0, *shape[1:]))).shape == (0, *shape[1:])
