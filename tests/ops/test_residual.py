import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.mask import Window, keep_mask, scale, threshold
from redrop.ops import dropout_add
from redrop.ops.key import signed

KEY = 0x8B1EF9904FBD598E


def expected(x, residual, p, window=None):
    kept = torch.from_numpy(keep_mask(KEY, p, x.shape, window=window))
    factor = torch.tensor(scale(threshold(p)), dtype=torch.float32)
    return (residual.float() + torch.where(kept, x.float() * factor, 0.0)).to(x.dtype)


@given(
    p=st.floats(0, 1),
    shape=st.lists(st.integers(0, 9), min_size=1, max_size=4),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
)
def test_it_is_the_formula_rounded_once(p, shape, dtype):
    x, residual = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype)
    assert torch.equal(dropout_add(x, residual, KEY, p), expected(x, residual, p))


def test_windows_reach_the_kernel():
    x, residual = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    window = Window((4, 6, 8), (2, 3, 1))
    ours = dropout_add(x, residual, KEY, 0.4, window=window)
    assert torch.equal(ours, expected(x, residual, 0.4, window))


def test_gradients_are_dropouts_and_the_identity():
    x, residual = (torch.randn(3, 7, requires_grad=True) for _ in range(2))
    upstream = torch.randn(3, 7)
    dropout_add(x, residual, KEY, 0.3).backward(upstream)
    assert torch.equal(x.grad, expected(upstream, torch.zeros(3, 7), 0.3))
    assert torch.equal(residual.grad, upstream)


def test_gradcheck_twice():
    x, residual = (torch.randn(3, 5, dtype=torch.float64, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(lambda a, b: dropout_add(a, b, KEY, 0.3), (x, residual))
    assert torch.autograd.gradgradcheck(
        lambda a, b: dropout_add(a, b, KEY, 0.3) ** 2, (x, residual)
    )


def test_nothing_is_saved_for_backward():
    saved = []
    x = torch.randn(8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda t: t):
        dropout_add(x, torch.zeros(8, 8), KEY, 0.5)
    assert saved == []


def test_compiled_equals_eager():
    x, residual = torch.randn(4, 6), torch.randn(4, 6)
    compiled = torch.compile(
        lambda a, b, key: dropout_add(a, b, key, 0.3), fullgraph=True, backend="aot_eager"
    )
    key = torch.tensor(signed(KEY))
    assert torch.equal(compiled(x, residual, key), dropout_add(x, residual, KEY, 0.3))


@pytest.mark.parametrize("other", [torch.zeros(3), torch.zeros(2, 3, dtype=torch.bfloat16)])
def test_a_residual_that_is_not_like_x_is_refused(other):
    with pytest.raises(UsageError, match="`residual` must be like `x`"):
        dropout_add(torch.zeros(2, 3), other, KEY, 0.5)


def test_bad_p_is_refused():
    with pytest.raises(UsageError, match="`p` must lie in"):
        dropout_add(torch.zeros(3), torch.zeros(3), KEY, 1.5)
