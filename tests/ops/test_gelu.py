import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.kernels.dispatch import BackendWarning
from redrop.mask import Window, keep_mask, scale, threshold
from redrop.ops import gelu_dropout
from redrop.ops.key import signed

KEY = 0x8B1EF9904FBD598E


def exact(x, bias, p, approximate, window=None):
    """The formula in float64, with the mask of the reference; differentiable."""
    kept = torch.from_numpy(keep_mask(KEY, p, x.shape, window=window))
    activation = F.gelu(x.double() + bias.double(), approximate=approximate)
    return torch.where(kept, activation * scale(threshold(p)), 0.0)


@given(
    p=st.floats(0, 0.99),
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    approximate=st.sampled_from(["none", "tanh"]),
)
def test_forward_and_gradients_are_the_formula(p, shape, approximate):
    x = torch.randn(shape, requires_grad=True)
    bias = torch.randn(shape[-1], requires_grad=True)
    upstream = torch.randn(shape)
    y = gelu_dropout(x, bias, KEY, p, approximate=approximate)
    reference = exact(x, bias, p, approximate)
    torch.testing.assert_close(y.double(), reference, rtol=2e-5, atol=2e-6 / (1 - p))
    ours = torch.autograd.grad(y, (x, bias), upstream)
    theirs = torch.autograd.grad(reference, (x, bias), upstream.double())
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=5e-5, atol=2e-5 / (1 - p))


def test_a_missing_bias_is_none():
    x = torch.randn(3, 8)
    zero = torch.zeros(8)
    assert torch.equal(gelu_dropout(x, None, KEY, 0.4), gelu_dropout(x, zero, KEY, 0.4))


def test_windows_reach_the_kernel():
    x, bias = torch.randn(2, 3, 8), torch.randn(8)
    window = Window((4, 6, 16), (2, 3, 5))
    y = gelu_dropout(x, bias, KEY, 0.4, window=window)
    reference = exact(x, bias, 0.4, "none", window)
    assert torch.equal(y == 0, reference == 0)


@pytest.mark.filterwarnings(f"ignore::{BackendWarning.__module__}.BackendWarning")
def test_gradcheck_twice():
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: gelu_dropout(a, b, KEY, 0.3), (x, bias))
    assert torch.autograd.gradgradcheck(lambda a, b: gelu_dropout(a, b, KEY, 0.3), (x, bias))


def test_only_the_input_is_saved_for_backward():
    saved = []
    x = torch.randn(8, 8, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.data_ptr()) or t, lambda t: t
    ):
        gelu_dropout(x, None, KEY, 0.5)
    assert saved == [x.data_ptr()]


def test_compiled_equals_eager():
    x, bias = torch.randn(4, 6), torch.randn(6)
    compiled = torch.compile(
        lambda a, b, key: gelu_dropout(a, b, key, 0.3), fullgraph=True, backend="aot_eager"
    )
    y = compiled(x, bias, torch.tensor(signed(KEY)))
    torch.testing.assert_close(y, gelu_dropout(x, bias, KEY, 0.3), rtol=1e-5, atol=1e-6)


def test_p_1_gives_zeros_and_zero_gradients():
    x = torch.randn(3, 4, requires_grad=True)
    y = gelu_dropout(x, None, KEY, 1.0)
    y.sum().backward()
    assert torch.equal(y, torch.zeros(3, 4))
    assert torch.equal(x.grad, torch.zeros(3, 4))


def test_bad_input_is_refused():
    with pytest.raises(UsageError, match="`p` must lie in"):
        gelu_dropout(torch.zeros(3), None, KEY, 1.5)
    with pytest.raises(UsageError, match="bias"):
        gelu_dropout(torch.zeros(2, 3), torch.zeros(4), KEY, 0.5)


def weighted(f):
    """A number of it whose gradient is not the same everywhere."""
    return lambda *x: (f(*x) * torch.arange(x[0].numel()).cos().view(x[0].shape).to(x[0])).sum()


def ordinary(f, tensors):
    at = [x.clone().requires_grad_() for x in tensors]
    return torch.autograd.grad(f(*at), at)


def transformed(f, tensors):
    return torch.func.grad(f, argnums=tuple(range(len(tensors))))(*tensors)


@given(
    p=st.floats(0, 1),
    shape=st.lists(st.integers(0, 9), min_size=1, max_size=3),
    approximate=st.sampled_from(["none", "tanh"]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    has_bias=st.booleans(),
)
def test_gradients_of_torch_func_have_the_bits_of_ordinary_autograd(
    p, shape, approximate, dtype, has_bias
):
    tensors = [torch.randn(shape).to(dtype)] + [torch.randn(shape[-1]).to(dtype)] * has_bias

    def f(x, bias=None):
        return gelu_dropout(x, bias, KEY, p, approximate=approximate)

    f = weighted(f)
    for ours, theirs in zip(transformed(f, tensors), ordinary(f, tensors), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("outer", [ordinary, transformed])
def test_second_derivatives_under_torch_func_are_those_of_the_formula(outer):
    tensors = [torch.randn(3, 5), torch.randn(5)]
    f = weighted(lambda x, bias: gelu_dropout(x, bias, KEY, 0.3))

    def length(*x):
        return sum(g.square().sum() for g in transformed(f, x))

    at = [x.double().requires_grad_() for x in tensors]
    first = torch.autograd.grad(
        weighted(lambda x, bias: exact(x, bias, 0.3, "none"))(*at), at, create_graph=True
    )
    expected = torch.autograd.grad(sum(g.square().sum() for g in first), at)
    for ours, theirs in zip(outer(length, tensors), expected, strict=True):
        torch.testing.assert_close(ours.double(), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("of", [torch.func.jacrev, torch.func.jacfwd])
def test_jacobians_are_those_of_the_formula(of):
    x, bias = torch.randn(2, 3), torch.randn(3)
    ours = of(lambda x: gelu_dropout(x, bias, KEY, 0.3))(x)
    theirs = of(lambda x: exact(x, bias, 0.3, "none"))(x)
    torch.testing.assert_close(ours.double(), theirs.double(), rtol=1e-4, atol=1e-5)
