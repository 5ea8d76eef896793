import pytest
import torch
from hypothesis import given, settings

from redrop.errors import UsageError
from redrop.kernels import eager
from redrop.mask import Window, keep_mask
from tests.kernels.cases import DTYPES, assert_same_bits, cases, expected, keys, thresholds

KEY = 0x8B1EF9904FBD598E
HALF = 2**31


@given(case=cases(), key=keys, threshold=thresholds)
def test_any_layout_window_and_shared_dimension(case, key, threshold):
    y = eager.dropout(case.x, key, threshold, case.window, case.shared)
    assert_same_bits(y, expected(case.x, key, threshold, case.window, case.shared))
    assert y.stride() == torch.empty_like(case.x).stride()


@settings(max_examples=30)
@given(case=cases(), key=keys, threshold=thresholds)
def test_in_place(case, key, threshold):
    x = case.x.clone()
    wanted = expected(x, key, threshold, case.window, case.shared)
    assert eager.dropout(x, key, threshold, case.window, case.shared, out=x) is x
    assert_same_bits(x, wanted)


@pytest.mark.parametrize("threshold", [1, 0x00030001, 0x0003FFFF, 0xFFFF8000])
def test_ties_are_decided_by_the_low_half_word(threshold):
    shape = (64, 4096)
    kept = eager.keep_mask(KEY, threshold, shape)
    assert torch.equal(kept, torch.from_numpy(keep_mask(KEY, threshold / 2**32, shape)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("special", [float("inf"), float("-inf"), float("nan")])
def test_what_is_dropped_is_gone_even_if_not_finite(dtype, special):
    x = torch.full((3, 77), special, dtype=dtype)
    assert_same_bits(eager.dropout(x, KEY, HALF), expected(x, KEY, HALF))


def test_coordinates_up_to_their_limits():
    x = torch.randn(2, 3, 5, 30)
    sizes = (2**16, 2**16, 2**32, 2**35)
    offset = tuple(size - count for size, count in zip(sizes, x.shape, strict=True))
    window = Window(sizes, offset)
    assert_same_bits(eager.dropout(x, KEY, HALF, window), expected(x, KEY, HALF, window))


def test_a_dtype_without_dropout_is_refused():
    with pytest.raises(UsageError, match=r"got torch\.complex64"):
        eager.dropout(torch.zeros(3, dtype=torch.complex64), KEY, HALF)
