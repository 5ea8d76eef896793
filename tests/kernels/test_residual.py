import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.kernels import cpu, eager_fused, residual
from redrop.kernels.plan import MaskPlan
from redrop.mask import keep_mask, scale
from tests.kernels.cases import DTYPES, assert_same_bits, cases, keys, thresholds

KEY = 0x8B1EF9904FBD598E
HALF = 2**31
HALVES = (torch.bfloat16, torch.float16)

every_isa = pytest.mark.parametrize("isa", cpu.supported_isa())


def expected(x, other, mask):
    """residual + dropout(x) in the compute type, with the mask of the reference."""
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    return (other.to(compute) + dropped(x, mask)).to(other.dtype)


def dropped(x, mask):
    p = mask.threshold / 2**32
    kept = torch.from_numpy(keep_mask(mask.key, p, x.shape, window=mask.window, shared=mask.shared))
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    factor = torch.tensor(scale(mask.threshold), dtype=compute)
    return torch.where(kept, x.to(compute) * factor, torch.zeros((), dtype=compute))


@every_isa
@given(case=cases(), key=keys, threshold=thresholds)
def test_any_layout_window_and_shared_dimension(isa, case, key, threshold):
    other = torch.randn(case.x.shape).to(case.x.dtype)
    mask = MaskPlan(key, threshold, case.window, case.shared)
    assert_same_bits(residual.dropout_add(case.x, other, mask, isa), expected(case.x, other, mask))


@given(case=cases(max_elements=500), key=keys, threshold=thresholds)
def test_the_portable_twin_gives_the_same_bits(case, key, threshold):
    other = torch.randn(case.x.shape).to(case.x.dtype)
    mask = MaskPlan(key, threshold, case.window, case.shared)
    assert_same_bits(eager_fused.dropout_add(case.x, other, mask), expected(case.x, other, mask))


def special(shape, dtype=torch.float32):
    """Numbers of all magnitudes, subnormal ones and ties of rounding included, and no numbers."""
    words = torch.randint(-(2**31), 2**31, shape, dtype=torch.int64).to(torch.int32)
    ties = words & -(2**16) | 2**15
    return torch.where(words % 3 == 0, ties, words).view(torch.float32).to(dtype)


@every_isa
@given(case=cases(), key=keys, threshold=thresholds, half=st.sampled_from(HALVES))
def test_a_half_precision_x_meets_a_float32_residual(isa, case, key, threshold, half):
    x, other = case.x.to(half), torch.randn(case.x.shape)
    mask = MaskPlan(key, threshold, case.window, case.shared)
    wanted = expected(x, other, mask)
    assert wanted.dtype == torch.float32
    assert_same_bits(residual.dropout_add(x, other, mask, isa), wanted)
    assert_same_bits(eager_fused.dropout_add(x, other, mask), wanted)


@every_isa
@given(case=cases(), key=keys, threshold=thresholds, half=st.sampled_from(HALVES))
def test_the_gradient_of_a_half_precision_x_is_rounded_once(isa, case, key, threshold, half):
    grad = case.x.float()
    mask = MaskPlan(key, threshold, case.window, case.shared)
    wanted = dropped(grad, mask).to(half)
    assert_same_bits(residual.dropout_add(grad, None, mask, isa, half), wanted)
    assert_same_bits(eager_fused.dropout_add(grad, None, mask, half), wanted)


@every_isa
@pytest.mark.parametrize("threshold", [0, HALF], ids=["nothing-drops", "half"])
@pytest.mark.parametrize("half", HALVES, ids=str)
def test_mixed_precision_takes_any_number(isa, threshold, half):
    grad, mask = special((3, 1025)), MaskPlan(KEY, threshold)
    narrow = residual.dropout_add(grad, None, mask, isa, half)
    assert_same_bits(narrow, dropped(grad, mask).to(half))
    x, other = special((3, 1025), half), special((3, 1025))
    assert_same_bits(residual.dropout_add(x, other, mask, isa), expected(x, other, mask))


@pytest.mark.parametrize("dtype", [torch.float32, *HALVES], ids=str)
@pytest.mark.parametrize("count", [2**20 - 3, 2**20 + 5])
def test_tensors_from_memory_are_added_as_those_in_a_cache(dtype, count):
    x, other, mask = torch.randn(count).to(dtype), torch.randn(count), MaskPlan(KEY, HALF)
    assert_same_bits(residual.dropout_add(x, other, mask), expected(x, other, mask))


@every_isa
@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_thread_count_changes_nothing(isa, threads, dtype, monkeypatch):
    monkeypatch.setattr(residual, "PARALLEL_FROM", 1)
    x, other = torch.randn(90, 129).to(dtype), torch.randn(90, 129)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        y = residual.dropout_add(x, other, MaskPlan(KEY, HALF), isa)
    finally:
        torch.set_num_threads(before)
    assert_same_bits(y, expected(x, other, MaskPlan(KEY, HALF)))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_what_is_dropped_is_gone_even_if_not_finite(dtype):
    x = torch.full((3, 77), float("nan"), dtype=dtype)
    other = torch.randn(3, 77).to(dtype)
    y = residual.dropout_add(x, other, MaskPlan(KEY, HALF))
    kept = torch.from_numpy(keep_mask(KEY, 0.5, x.shape))
    assert torch.equal(y[~kept], other[~kept])
    assert bool(y[kept].isnan().all())


@given(st.sampled_from(DTYPES))
def test_a_threshold_of_zero_adds(dtype):
    x, other = torch.randn(2, 5, 130).to(dtype)
    assert_same_bits(residual.dropout_add(x, other, MaskPlan(KEY, 0)), x + other)


@pytest.mark.parametrize("half", HALVES, ids=str)
def test_what_is_dropped_is_gone_from_a_mixed_sum_and_its_gradient(half):
    x, other = torch.full((3, 77), float("inf")), torch.randn(3, 77)
    kept = torch.from_numpy(keep_mask(KEY, 0.5, x.shape))
    y = residual.dropout_add(x.to(half), other, MaskPlan(KEY, HALF))
    assert torch.equal(y, torch.where(kept, x, other))
    grad = residual.dropout_add(x, None, MaskPlan(KEY, HALF), dtype=half)
    assert torch.equal(grad, torch.where(kept, x, 0.0).to(half))


def test_tensors_it_cannot_add_are_refused():
    x, mask = torch.randn(3, 4), MaskPlan(KEY, HALF)
    for narrow, wide in [
        (x, torch.randn(4)),
        (x, x.double()),
        (x, x.bfloat16()),
        (x.bfloat16(), x.double()),
        (x.bfloat16(), x.half()),
        (x.bfloat16(), torch.randn(4)),
    ]:
        with pytest.raises(UsageError, match="`residual` must be like `x`"):
            residual.dropout_add(narrow, wide, mask)
    with pytest.raises(UsageError, match="floating-point CPU tensors"):
        residual.dropout_add(x.long(), x.long(), mask)


@pytest.mark.parametrize("before", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("after", [None, torch.float32, torch.float64], ids=str)
def test_without_a_residual_float32_becomes_half_precision_and_nothing_else(before, after):
    x = torch.randn(3, dtype=before)
    with pytest.raises(UsageError, match="Without `residual`, float32 is dropped and rounded"):
        residual.dropout_add(x, None, MaskPlan(KEY, HALF), dtype=after)
