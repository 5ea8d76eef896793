import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from redrop.nn.alpha_dropout import SATURATION, alpha_dropout, feature_alpha_dropout
from tests.nn.expected import reference, torchs_own

KEY = 0x8B1EF9904FBD598E
NARROW = [torch.float32, torch.bfloat16, torch.float16]
LAYERS = [
    pytest.param(alpha_dropout, torch.nn.AlphaDropout, False, id="element"),
    pytest.param(feature_alpha_dropout, torch.nn.FeatureAlphaDropout, True, id="feature"),
]


def paper(x, kept, p):
    """The paper's formula, symbol by symbol, in float64."""
    alpha = -SATURATION  # α' of the paper
    q = 1 - p
    a = (q + alpha**2 * q * (1 - q)) ** -0.5
    b = -a * (1 - q) * alpha
    return a * torch.where(kept, x.double(), alpha) + b


def test_saturation_is_where_selu_ends():
    assert float(torch.selu(torch.tensor(-50.0, dtype=torch.float64))) == -SATURATION


@pytest.mark.parametrize(("ours", "torchs", "is_feature"), LAYERS)
@given(
    key=st.integers(0, 2**64 - 1),
    p=st.floats(0.01, 0.99),
    shape=st.lists(st.integers(1, 6), min_size=2, max_size=5),
)
def test_values_are_the_papers_and_torchs_under_the_same_mask(
    ours, torchs, is_feature, key, p, shape
):
    x = torch.randn(shape, dtype=torch.float64)
    kept = reference(key, p, shape, shared=range(2, len(shape)) if is_feature else ())
    y = ours(x, key, p)
    # p is rounded to 2^-32 here.
    torch.testing.assert_close(y, paper(x, kept, p), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(y, torchs_own(torchs(p), x, kept), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("p", [0.25, 0.5, 0.875])  # multiples of 2^-32
def test_float64_is_the_paper_to_a_few_roundings(p):
    x = torch.randn(20_000, dtype=torch.float64)
    expected = paper(x, reference(KEY, p, x.shape), p)
    torch.testing.assert_close(alpha_dropout(x, KEY, p), expected, rtol=2e-15, atol=2e-15)


@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("p", [0.05, 0.5, 0.9])
def test_error_is_at_most_twice_torchs(dtype, p):
    x = torch.nn.functional.selu(torch.randn(20_000, dtype=torch.float64)).to(dtype)
    kept = reference(KEY, p, x.shape)
    exact = paper(x, kept, math.floor(p * 2**32) / 2**32)
    ours = (alpha_dropout(x, KEY, p).double() - exact).abs().max()
    theirs = (torchs_own(torch.nn.AlphaDropout(p), x, kept).double() - exact).abs().max()
    assert ours <= 2 * theirs


@pytest.mark.parametrize(("ours", "torchs", "is_feature"), LAYERS)
def test_backward_is_the_slope_of_the_formula(ours, torchs, is_feature):
    x = torch.randn(5, 6, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    ours(x, KEY, 0.4).backward(upstream)
    kept = reference(KEY, 0.4, x.shape, shared=(2,) if is_feature else ())
    copy = x.detach().requires_grad_()
    paper(copy, kept, 0.4).backward(upstream)
    torch.testing.assert_close(x.grad, copy.grad, rtol=1e-7, atol=0)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_mean_and_variance_of_selu_outputs_are_kept(p):
    """Normal limits from the sample's own moments; a right layer fails 4 times in 1e9 per p."""
    count = 2**20
    generator = torch.Generator().manual_seed(1)
    # SELU maps N(0, 1) to mean 0 and variance 1; its constants are made for that.
    x = torch.selu(torch.randn(count, dtype=torch.float64, generator=generator))
    y = alpha_dropout(x, KEY, p)
    limit = norm.isf(1e-9) / math.sqrt(count)
    assert abs(float(y.mean())) < limit * float(y.std())
    square = y.square()
    assert abs(float(square.mean()) - 1) < limit * float(square.std())


def test_a_dropped_infinity_becomes_the_saturation():
    x = torch.full((1000,), math.inf)
    kept = reference(KEY, 0.5, x.shape)
    y = alpha_dropout(x, KEY, 0.5)
    assert torch.equal(y == math.inf, kept)
    expected = paper(torch.zeros(1), torch.zeros(1, dtype=torch.bool), 0.5).float()
    torch.testing.assert_close(y[~kept], expected.expand((~kept).sum()))
