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

every_isa = pytest.mark.parametrize("isa", cpu.supported_isa())


def expected(x, other, mask):
    """residual + dropout(x) in the compute type, with the mask of the reference."""
    p = mask.threshold / 2**32
    kept = torch.from_numpy(keep_mask(mask.key, p, x.shape, window=mask.window, shared=mask.shared))
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    factor = torch.tensor(scale(mask.threshold), dtype=compute)
    dropped = torch.where(kept, x.to(compute) * factor, torch.zeros((), dtype=compute))
    return (other.to(compute) + dropped).to(x.dtype)


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


@every_isa
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_thread_count_changes_nothing(isa, threads, monkeypatch):
    monkeypatch.setattr(residual, "PARALLEL_FROM", 1)
    x, other = torch.randn(2, 90, 129)
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


def test_tensors_it_cannot_add_are_refused():
    x = torch.randn(3, 4)
    with pytest.raises(UsageError, match="`residual` must be like `x`"):
        residual.dropout_add(x, torch.randn(4), MaskPlan(KEY, HALF))
    with pytest.raises(UsageError, match="`residual` must be like `x`"):
        residual.dropout_add(x, x.double(), MaskPlan(KEY, HALF))
    with pytest.raises(UsageError, match="floating-point CPU tensors"):
        residual.dropout_add(x.long(), x.long(), MaskPlan(KEY, HALF))
