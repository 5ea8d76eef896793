import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from redrop.errors import UsageError
from redrop.kernels import cpu, eager_fused, gelu
from redrop.kernels.plan import MaskPlan
from redrop.mask import keep_mask, scale
from tests.kernels.cases import cases, keys, thresholds

KEY = 0x8B1EF9904FBD598E
HALF = 2**31
EPSILON = {torch.float32: 2.0**-24, torch.bfloat16: 2.0**-8}

every_isa = pytest.mark.parametrize("isa", cpu.supported_isa())
approximations = pytest.mark.parametrize("approximate", ["none", "tanh"])
kinds = st.sampled_from(["none", "tanh"])


def kept_scale(x, mask):
    """scale where the reference keeps, 0 where it drops, in float64."""
    p = mask.threshold / 2**32
    kept = keep_mask(mask.key, p, x.shape, window=mask.window, shared=mask.shared)
    return torch.from_numpy(kept) * scale(mask.threshold)


def exact(x, bias, grad, mask, approximate):
    """Value and gradients in float64: what all arithmetic is measured against."""
    x64, grad64 = x.double().requires_grad_(), grad.double()
    bias64 = (torch.zeros(x.shape[-1:]) if bias is None else bias).double().requires_grad_()
    factor = kept_scale(x, mask)
    y = F.gelu(x64 + bias64, approximate=approximate) * factor
    grad_x, grad_bias = torch.autograd.grad(y, (x64, bias64), grad64)
    return y.detach(), grad_x, grad_bias


def assert_close(actual, wanted, scale_of):
    """Within a few roundings of float32 plus one of the dtype itself."""
    epsilon = EPSILON[actual.dtype]
    bound = wanted.abs() * epsilon * 1.01 + 2.0**-20 * scale_of
    assert bool(((actual.double() - wanted).abs() <= bound).all())


@every_isa
@given(case=cases(), key=keys, threshold=thresholds, approximate=kinds, data=st.data())
def test_any_layout_window_and_shared_dimension(isa, case, key, threshold, approximate, data):
    dtype = data.draw(st.sampled_from([torch.float32, torch.bfloat16]))
    x = case.x.to(dtype) if case.x.dim() else case.x.to(dtype)[None]
    window = case.window if case.x.dim() else None
    bias = torch.randn(x.shape[-1]).to(dtype) if data.draw(st.booleans()) else None
    grad = torch.randn(x.shape).to(dtype)
    mask = MaskPlan(key, threshold, window, case.shared)
    y, grad_x, grad_bias = exact(x, bias, grad, mask, approximate)
    largest = scale(threshold) * 8
    assert_close(gelu.gelu_dropout(x, bias, mask, approximate, isa), y, largest)
    actual_x, actual_bias = gelu.gelu_dropout_backward(grad, x, bias, mask, approximate, isa)
    assert_close(actual_x, grad_x, largest)
    if bias is not None:
        rows = max(1, x.numel() // max(1, x.shape[-1]))
        assert_close(actual_bias, grad_bias, largest * rows**0.5)
    else:
        assert actual_bias is None


@approximations
def test_all_instruction_sets_and_thread_counts_give_the_same_bits(approximate, monkeypatch):
    monkeypatch.setattr(gelu, "PARALLEL_FROM", 1)
    before = torch.get_num_threads()
    for cols in (1, 7, 96, 129, 1000):
        x, grad = 3 * torch.randn(2, 20000 // cols, cols)
        bias = torch.randn(cols)
        results = []
        for isa in cpu.supported_isa():
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                y = gelu.gelu_dropout(x, bias, MaskPlan(KEY, HALF), approximate, isa)
                grads = gelu.gelu_dropout_backward(
                    grad, x, bias, MaskPlan(KEY, HALF), approximate, isa
                )
                results.append((y, *grads))
        torch.set_num_threads(before)
        for other in results[1:]:
            assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@approximations
def test_error_is_at_most_twice_that_of_pytorch(approximate):
    z = torch.cat([torch.linspace(-14, 14, 200_001), torch.randn(200_000)])
    ones, everything = torch.ones_like(z), MaskPlan(KEY, 0)
    value, slope, _ = exact(z, None, ones, everything, approximate)
    theirs = F.gelu(z, approximate=approximate)
    their_slope = torch.ops.aten.gelu_backward(ones, z, approximate=approximate)
    ours = gelu.gelu_dropout(z, None, everything, approximate)
    our_slope, _ = gelu.gelu_dropout_backward(ones, z, None, everything, approximate)
    for actual, peer, wanted in ((ours, theirs, value), (our_slope, their_slope, slope)):
        assert (actual - wanted).abs().max() <= 2 * (peer - wanted).abs().max()
        assert (actual - wanted).pow(2).mean() <= 4 * (peer - wanted).pow(2).mean()


@approximations
def test_the_bias_gradient_does_not_lose_terms_in_long_sums(approximate):
    x, grad = torch.randn(2, 200_000, 3)
    bias = torch.randn(3)
    _, _, wanted = exact(x, bias, grad + 1, MaskPlan(KEY, HALF), approximate)
    _, actual = gelu.gelu_dropout_backward(grad + 1, x, bias, MaskPlan(KEY, HALF), approximate)
    # A sum may cancel to little; one after the other in float32 would be off by about 1e-2 then.
    assert torch.allclose(actual.double(), wanted, rtol=2e-6, atol=2e-4)


@approximations
def test_special_values(approximate):
    inf, nan = float("inf"), float("nan")
    z = torch.tensor([inf, nan, 0.0, 1e30, -1e30, 88.0, -88.0])
    y = gelu.gelu_dropout(z, None, MaskPlan(KEY, 0), approximate)
    wanted = torch.tensor([inf, nan, 0.0, 1e30, 0.0, 88.0, 0.0])
    assert torch.equal(y.nan_to_num(7.0, posinf=inf), wanted.nan_to_num(7.0, posinf=inf))
    dropped = torch.from_numpy(~keep_mask(KEY, 0.5, (300,)))
    y = gelu.gelu_dropout(torch.full((300,), nan), None, MaskPlan(KEY, HALF), approximate)
    assert torch.equal(y.isnan(), ~dropped)


@approximations
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_the_portable_twin_agrees(approximate, dtype):
    x, grad = torch.randn(2, 50, 33).to(dtype)
    bias = torch.randn(33).to(dtype)
    mask = MaskPlan(KEY, HALF, None, (0,))
    y, grad_x, grad_bias = exact(x, bias, grad, mask, approximate)
    epsilon = EPSILON.get(dtype, 0.0)
    actual_y = eager_fused.gelu_dropout(x, bias, mask, approximate)
    actual_x, actual_bias = eager_fused.gelu_dropout_backward(grad, x, bias, mask, approximate)
    for actual, wanted in ((actual_y, y), (actual_x, grad_x), (actual_bias, grad_bias)):
        assert actual.dtype == dtype
        close = (actual.double() - wanted).abs() <= wanted.abs() * epsilon * 1.01 + 1e-5
        assert bool(close.all())


def test_tensors_it_cannot_take_are_refused():
    x = torch.randn(3, 4)
    with pytest.raises(UsageError, match="float32 or bfloat16 CPU tensors"):
        gelu.gelu_dropout(x.double(), None, MaskPlan(KEY, HALF))
    with pytest.raises(UsageError, match="with a last dimension"):
        gelu.gelu_dropout(torch.tensor(1.0), None, MaskPlan(KEY, HALF))
    with pytest.raises(UsageError, match="`bias` must have one number per element"):
        gelu.gelu_dropout(x, torch.randn(3), MaskPlan(KEY, HALF))
    with pytest.raises(UsageError, match="must be 'none' or 'tanh'; got 'sigmoid'"):
        gelu.gelu_dropout(x, None, MaskPlan(KEY, HALF), "sigmoid")
    with pytest.raises(UsageError, match="`grad` must be like `x`"):
        gelu.gelu_dropout_backward(x[0], x, None, MaskPlan(KEY, HALF))
