import math

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from redrop.mask import Window
from redrop.nn.drop_head import drop_head
from tests.nn.expected import reference

KEY = 0x8B1EF9904FBD598E


def formula(x, key, p, kept=None):
    """x · keep · H / Σ keep by the paper, in float64, sample by sample."""
    kept = reference(key, p, x.shape, shared=(2, 3)) if kept is None else kept
    y = torch.zeros_like(x, dtype=torch.float64)
    for sample, heads in enumerate(kept[:, :, 0, 0].tolist()):
        for head, is_kept in enumerate(heads):
            if is_kept:
                y[sample, head] = x[sample, head].double() * (len(heads) / sum(heads))
    return y


@given(
    key=st.integers(0, 2**64 - 1),
    p=st.floats(0.01, 0.99),
    shape=st.tuples(*[st.integers(1, 6)] * 4),
)
def test_heads_are_rescaled_by_how_many_were_kept(key, p, shape):
    x = torch.randn(shape, dtype=torch.float64)
    torch.testing.assert_close(drop_head(x, key, p), formula(x, key, p), rtol=1e-14, atol=0)
    narrow = drop_head(x.float(), key, p).double()
    torch.testing.assert_close(narrow, formula(x.float(), key, p), rtol=5e-7, atol=0)


def test_backward_has_mask_and_rescale_of_forward():
    x = torch.randn(6, 5, 3, 4, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    drop_head(x, KEY, 0.4).backward(upstream)
    torch.testing.assert_close(x.grad, formula(upstream, KEY, 0.4), rtol=1e-14, atol=0)


def test_factors_of_a_sample_add_up_to_its_heads_or_to_zero():
    factors = drop_head(torch.ones(500, 4, 1, 1), KEY, 0.6)[:, :, 0, 0]
    kept = factors != 0
    sums = factors.sum(1)
    torch.testing.assert_close(sums[kept.any(1)], torch.full_like(sums[kept.any(1)], 4.0))
    assert (~kept.any(1)).any()  # a sample that lost all heads occurred, and gave zeros
    assert (factors[~kept.any(1)] == 0).all()


def test_a_dropped_infinity_is_gone_also_where_all_heads_are():
    x = torch.full((500, 4, 1, 1), math.inf)
    kept = reference(KEY, 0.6, x.shape, shared=(2, 3))
    y = drop_head(x, KEY, 0.6)
    assert torch.equal(y == math.inf, kept)
    assert torch.equal(y == 0, ~kept)


def test_heads_split_over_processes_are_counted_over_the_whole_model():
    x = torch.randn(4, 6, 3, 2)
    whole = drop_head(x, KEY, 0.5)
    for first in (0, 2, 4):
        window = Window((8, 6, 3, 2), (4, first, 0, 0))
        part = drop_head(x[:, first : first + 2], KEY, 0.5, window=window)
        at_offset = drop_head(x, KEY, 0.5, window=Window((8, 6, 3, 2), (4, 0, 0, 0)))
        assert torch.equal(part, at_offset[:, first : first + 2])
    assert not torch.equal(whole, at_offset)


def test_the_mean_factor_is_the_probability_that_a_head_survives_somewhere():
    """E = 1 - p^H. Normal limits on a mean of samples; a right layer fails 2 times in 1e9."""
    p, heads, samples = 0.5, 4, 50_000
    factors = drop_head(torch.ones(samples, heads, 1, 1, dtype=torch.float64), KEY, p)
    first = factors[:, 0, 0, 0].numpy()
    limit = norm.isf(1e-9) * np.std(first) / math.sqrt(samples)
    assert abs(first.mean() - (1 - p**heads)) < limit
