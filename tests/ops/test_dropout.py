import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.mask import Window, keep_mask, scale, threshold
from redrop.ops import dropout
from redrop.ops.key import signed

KEY = 0x8B1EF9904FBD598E
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def expected(x, key, p, **where):
    """The formula with the reference's mask, in plain PyTorch."""
    kept = torch.from_numpy(keep_mask(key, p, x.shape, **where))
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    factor = torch.tensor(scale(threshold(p)), dtype=compute)
    return torch.where(kept, (x.to(compute) * factor).to(x.dtype), torch.zeros_like(x))


@given(
    key=st.integers(0, 2**64 - 1),
    p=st.floats(0, 1),
    shape=st.lists(st.integers(0, 9), max_size=4),
    dtype=st.sampled_from(DTYPES),
)
def test_forward_is_the_formula(key, p, shape, dtype):
    x = torch.randn(shape).to(dtype)
    assert torch.equal(dropout(x, key, p), expected(x, key, p))


@given(p=st.floats(0.01, 0.99), shape=st.lists(st.integers(1, 9), min_size=1, max_size=4))
def test_backward_is_the_same_function(p, shape):
    x = torch.randn(shape, requires_grad=True)
    upstream = torch.randn(shape)
    dropout(x, KEY, p).backward(upstream)
    assert torch.equal(x.grad, expected(upstream, KEY, p))


def test_windows_and_shared_dimensions_reach_the_kernel():
    x = torch.randn(2, 3, 5)
    window = Window((4, 6, 8), (2, 3, 1))
    where = {"window": window, "shared": (1,)}
    assert torch.equal(dropout(x, KEY, 0.4, **where), expected(x, KEY, 0.4, **where))


def test_gradients_and_their_gradients():
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: dropout(x, KEY, 0.3), x)
    assert torch.autograd.gradgradcheck(lambda x: dropout(x, KEY, 0.3) ** 2, x)


def test_nothing_is_saved_for_backward():
    saved = []
    x = torch.randn(64, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda t: t):
        y = dropout(x, KEY, 0.5)
    assert saved == []
    y.sum().backward()


def test_inplace_writes_into_its_input_and_differentiates():
    x = torch.randn(4, 6, requires_grad=True)
    hidden = x * 1
    y = dropout(hidden, KEY, 0.5, inplace=True)
    assert y.data_ptr() == hidden.data_ptr()
    assert torch.equal(y, expected(x, KEY, 0.5))
    y.sum().backward()
    assert torch.equal(x.grad, expected(torch.ones_like(x), KEY, 0.5))


def test_p_0_returns_the_very_same_tensor():
    x = torch.randn(5)
    assert dropout(x, KEY, 0.0) is x


def test_p_1_gives_zeros_and_zero_gradients_whatever_the_input():
    x = torch.tensor([1.0, math.inf, math.nan], requires_grad=True)
    y = dropout(x, KEY, 1.0)
    assert torch.equal(y, torch.zeros(3))
    y.backward(torch.full((3,), math.inf))
    assert torch.equal(x.grad, torch.zeros(3))


def test_a_dropped_infinity_is_gone():
    x = torch.full((1000,), math.inf)
    y = dropout(x, KEY, 0.5)
    kept = torch.from_numpy(keep_mask(KEY, 0.5, (1000,)))
    assert torch.equal(y == math.inf, kept)
    assert torch.equal(y == 0, ~kept)


def test_a_permuted_tensor_has_the_mask_of_its_logical_shape():
    x = torch.randn(6, 5, 4).permute(2, 0, 1)
    assert torch.equal(dropout(x, KEY, 0.3), expected(x, KEY, 0.3))


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_a_dtype_without_dropout_is_refused(dtype):
    with pytest.raises(UsageError, match="Dropout takes float32, float64, bfloat16 or float16"):
        dropout(torch.zeros(3, dtype=dtype), KEY, 0.5)


def test_a_window_that_the_tensor_leaves_is_refused():
    with pytest.raises(UsageError, match="window"):
        dropout(torch.zeros(3, 3), KEY, 0.5, window=Window((3, 3), (1, 0)))


@pytest.mark.parametrize("p", [1.5, -0.5, math.nan])
def test_bad_p_is_refused(p):
    with pytest.raises(UsageError, match="`p` must lie in"):
        dropout(torch.zeros(3), KEY, p)


@pytest.mark.parametrize("requires_grad", [False, True])
def test_operator_passes_opcheck(requires_grad):
    x = torch.randn(4, 6, requires_grad=requires_grad)
    key = torch.tensor(signed(KEY))
    for sizes, offset, shared in [(None, None, []), ([8, 8], [1, 2], [0])]:
        arguments = (x, key, threshold(0.3), sizes, offset, shared)
        result = torch.library.opcheck(torch.ops.redrop.dropout.default, arguments)
        assert set(result.values()) == {"SUCCESS"}


def test_operator_and_direct_call_agree():
    x = torch.randn(7, 130)
    key = torch.tensor(signed(KEY))
    assert torch.equal(dropout(x, key, 0.3), dropout(x, KEY, 0.3))


def test_compiled_equals_eager_in_both_directions():
    def f(x, key):
        return dropout(x.sin(), key, 0.3).cos()

    key = torch.tensor(signed(KEY))
    x = torch.randn(8, 16, requires_grad=True)
    y = torch.compile(f, fullgraph=True, backend="aot_eager")(x, key)
    (grad,) = torch.autograd.grad(y.sum(), x)
    y_eager = f(x, key)
    (grad_eager,) = torch.autograd.grad(y_eager.sum(), x)
    assert torch.equal(y, y_eager)
    assert torch.equal(grad, grad_eager)


def test_torch_func_transforms():
    x = torch.randn(5, 4, 6)
    gradient = torch.func.grad(lambda x: dropout(x, KEY, 0.3).sum())(x)
    assert torch.equal(gradient, expected(torch.ones_like(x), KEY, 0.3))
    shared = torch.func.vmap(lambda x: dropout(x, KEY, 0.3))(x)
    assert torch.equal(shared, torch.stack([expected(one, KEY, 0.3) for one in x]))
    _, tangent = torch.func.jvp(lambda x: dropout(x, KEY, 0.3) * 2, (x,), (torch.ones_like(x),))
    assert torch.equal(tangent, 2 * expected(torch.ones_like(x), KEY, 0.3))
    per_example = torch.func.vmap(torch.func.grad(lambda x: dropout(x, KEY, 0.3).sum()))(x)
    assert torch.equal(per_example[3], expected(torch.ones(4, 6), KEY, 0.3))
    at = torch.func.vmap(lambda x: dropout(x, KEY, 0.3), in_dims=2, out_dims=2)(x)
    assert torch.equal(at, torch.stack([expected(o, KEY, 0.3) for o in x.unbind(2)], dim=2))


def test_meta_tensors_have_shape_and_no_data():
    assert dropout(torch.empty(3, 4, device="meta"), KEY, 0.5).shape == (3, 4)


def test_the_mask_of_a_batch_is_that_of_its_parts():
    x = torch.randn(6, 4, 5)
    parts = [
        dropout(part, KEY, 0.4, window=Window((6, 4, 5), (2 * i, 0, 0)))
        for i, part in enumerate(x.split(2))
    ]
    assert torch.equal(torch.cat(parts), dropout(x, KEY, 0.4))


def test_share_and_scale_over_many_elements():
    y = dropout(torch.ones(2**20), KEY, 0.1).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.9)}
