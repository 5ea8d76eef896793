"""Dropout fused with its neighbours, in plain PyTorch: the portable twins of residual and gelu.

They compute in float32 (float64 for float64) and round once at the end, as the native kernels do:
`dropout_add` gives the same bits, the GELU the same numbers up to rounding.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from redrop.kernels.eager import keep_mask
from redrop.kernels.plan import MaskPlan
from redrop.mask.threshold import scale


def dropout_add(
    x: Tensor,
    residual: Tensor | None,
    mask: MaskPlan,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return residual + (keep ? x / (1 - T / 2^32) : 0); see `redrop.kernels.residual`."""
    kept = torch.where(_keep(x, mask), _wide(x) * scale(mask.threshold), 0.0)
    y = kept.to(dtype) if residual is None else (_wide(residual) + kept).to(residual.dtype)
    return y.contiguous()


def gelu_dropout(
    x: Tensor,
    bias: Tensor | None,
    mask: MaskPlan,
    approximate: str = "none",
) -> Tensor:
    """Return keep ? gelu(x + bias) / (1 - T / 2^32) : 0; see `redrop.kernels.gelu`."""
    keep = _keep(x, mask)
    activation = F.gelu(_shifted(x, bias), approximate=approximate)
    return torch.where(keep, activation * scale(mask.threshold), 0.0).to(x.dtype)


def gelu_dropout_backward(
    grad: Tensor,
    x: Tensor,
    bias: Tensor | None,
    mask: MaskPlan,
    approximate: str = "none",
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of `x` and of `bias`; see `redrop.kernels.gelu`."""
    keep = _keep(x, mask)
    upstream = _wide(grad) * scale(mask.threshold)
    slope = torch.ops.aten.gelu_backward(upstream, _shifted(x, bias), approximate=approximate)
    grad_x = torch.where(keep, slope, 0.0)
    grad_bias = None if bias is None else grad_x.reshape(-1, x.shape[-1]).sum(0).to(bias.dtype)
    return grad_x.to(x.dtype), grad_bias


def _keep(x: Tensor, mask: MaskPlan) -> Tensor:
    return keep_mask(mask.key, mask.threshold, tuple(x.shape), mask.window, mask.shared, x.device)


def _shifted(x: Tensor, bias: Tensor | None) -> Tensor:
    return _wide(x) if bias is None else _wide(x) + _wide(bias)


def _wide(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.to(torch.float32)
