import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from redrop.errors import UsageError
from redrop.mask import Window
from redrop.ops import gaussian_dropout, gaussian_noise, random_bits
from redrop.ops.key import signed

KEY = 0x8B1EF9904FBD598E
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]


def factors(key, p, shape, **where):
    """The definition, one element at a time, with the standard library's normal distribution."""
    normal = NormalDist()
    bits = random_bits(key, shape, **where).flatten().tolist()
    n = [1 + normal.inv_cdf((u + 0.5) / 2**32) * math.sqrt(p / (1 - p)) for u in bits]
    return torch.tensor(n, dtype=torch.float64).reshape(shape)


@given(
    key=st.integers(0, 2**64 - 1),
    p=st.floats(0.001, 0.999),
    shape=st.lists(st.integers(0, 7), max_size=4),
)
def test_noise_is_the_definition(key, p, shape):
    expected = factors(key, p, shape)
    spread = math.sqrt(p / (1 - p))  # a factor near 0 is the difference of two larger numbers
    torch.testing.assert_close(
        gaussian_noise(key, p, shape), expected, rtol=1e-14, atol=1e-14 * (1 + spread)
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@given(p=st.floats(0.01, 0.99), shape=st.lists(st.integers(0, 7), max_size=4))
def test_forward_multiplies_by_the_noise_of_the_compute_type(dtype, p, shape):
    x = torch.randn(shape).to(dtype)
    compute = torch.float64 if dtype == torch.float64 else torch.float32
    expected = (x.to(compute) * gaussian_noise(KEY, p, shape).to(compute)).to(dtype)
    assert torch.equal(gaussian_dropout(x, KEY, p), expected)


def test_backward_multiplies_by_the_same_noise():
    x = torch.randn(5, 6, requires_grad=True)
    upstream = torch.randn(5, 6)
    gaussian_dropout(x, KEY, 0.4).backward(upstream)
    assert torch.equal(x.grad, gaussian_dropout(upstream, KEY, 0.4))


def test_gradients_and_their_gradients():
    x = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: gaussian_dropout(x, KEY, 0.3), x)
    assert torch.autograd.gradgradcheck(lambda x: gaussian_dropout(x, KEY, 0.3) ** 2, x)


def test_windows_and_shared_dimensions_reach_the_noise():
    x = torch.randn(2, 3, 5, dtype=torch.float64)
    where = {"window": Window((4, 6, 8), (2, 3, 1)), "shared": (1,)}
    torch.testing.assert_close(
        gaussian_dropout(x, KEY, 0.4, **where), x * factors(KEY, 0.4, x.shape, **where)
    )


def test_only_the_key_is_saved_for_backward():
    saved = []
    x = torch.randn(64, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = gaussian_dropout(x, KEY, 0.5)
    assert [t.numel() for t in saved] == [1]
    y.sum().backward()


def test_p_0_is_the_very_same_tensor_and_p_1_is_refused():
    x = torch.randn(5)
    assert gaussian_dropout(x, KEY, 0.0) is x
    for p in (1.0, 1.5, -0.5, math.nan):
        with pytest.raises(UsageError, match="`p` "):
            gaussian_dropout(x, KEY, p)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
def test_a_dtype_without_dropout_is_refused(dtype):
    with pytest.raises(UsageError, match="dtype|Dropout takes float32"):
        gaussian_dropout(torch.zeros(3, dtype=dtype), KEY, 0.5)


def test_a_window_that_the_tensor_leaves_is_refused():
    with pytest.raises(UsageError, match="window"):
        gaussian_dropout(torch.zeros(3, 3), KEY, 0.5, window=Window((3, 3), (1, 0)))


@pytest.mark.parametrize("requires_grad", [False, True])
def test_operator_passes_opcheck(requires_grad):
    x = torch.randn(4, 6, requires_grad=requires_grad)
    key = torch.tensor(signed(KEY))
    for sizes, offset, shared in [(None, None, []), ([8, 8], [1, 2], [0])]:
        arguments = (x, key, 0.3, sizes, offset, shared)
        result = torch.library.opcheck(torch.ops.redrop.gaussian_dropout.default, arguments)
        assert set(result.values()) == {"SUCCESS"}


def test_a_permuted_tensor_has_the_noise_of_its_logical_shape():
    x = torch.randn(6, 5, 4).permute(2, 0, 1)
    assert torch.equal(gaussian_dropout(x, KEY, 0.3), gaussian_dropout(x.contiguous(), KEY, 0.3))


def test_torch_func_transforms():
    x, tangent = torch.randn(5, 4, 6), torch.randn(5, 4, 6)
    gradient = torch.func.grad(lambda x: gaussian_dropout(x, KEY, 0.3).sum())(x)
    assert torch.equal(gradient, gaussian_dropout(torch.ones(5, 4, 6), KEY, 0.3))
    _, pushed = torch.func.jvp(lambda x: gaussian_dropout(x, KEY, 0.3), (x,), (tangent,))
    assert torch.equal(pushed, gaussian_dropout(tangent, KEY, 0.3))
    shared = torch.func.vmap(lambda x: gaussian_dropout(x, KEY, 0.3))(x)
    assert torch.equal(shared, torch.stack([gaussian_dropout(one, KEY, 0.3) for one in x]))


def test_meta_tensors_have_shape_and_no_data():
    assert gaussian_dropout(torch.empty(3, 4, device="meta"), KEY, 0.5).shape == (3, 4)


@pytest.mark.parametrize("p", [0.1, 0.5])
def test_noise_is_normal_with_dropouts_mean_and_variance(p):
    """A right operator fails with probability about 5e-9 per case: two moments and the shape."""
    count = 2**18
    n = gaussian_noise(KEY, p, (count,)).numpy()
    z = (n - 1) / math.sqrt(p / (1 - p))
    limit = norm.isf(1e-9) / math.sqrt(count)
    assert abs(z.mean()) < limit
    assert abs(np.mean(z**2) - 1) < limit * math.sqrt(2)
    assert kstest(z, "norm").pvalue > 1e-9
