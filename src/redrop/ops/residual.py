"""residual + dropout(x) in one pass over memory, as an operation with derivatives."""

from typing import Any

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.kernels.dispatch import select
from redrop.kernels.plan import MaskPlan
from redrop.mask.threshold import ONE, threshold
from redrop.mask.window import Window
from redrop.ops.dropout import dropout
from redrop.ops.plain import is_plain


def dropout_add(
    x: Tensor,
    residual: Tensor,
    key: int | Tensor,
    p: float,
    *,
    window: Window | None = None,
) -> Tensor:
    """Return residual + x · keep / (1 - p), rounded once to the dtype.

    What costs in dropout is the pass over memory; the residual connection makes one anyway.
    Where tensors are traced it is a dropout and an add, which round twice in half precision.

    Args:
        x: Output of a sub-layer; its dropout is that of `redrop.ops.dropout`.
        residual: Like `x`.
        key: Of the mask, from `redrop.mask.mask_key`.
        p: Probability that an element of `x` is dropped. 0 adds, 1 leaves the residual.
        window: Where `x` stands in the whole tensor of the whole job; by default it is the whole.

    Returns:
        A tensor like `x`; differentiable any number of times.

    Raises:
        UsageError: p outside [0, 1], or `residual` is not like `x`.

    >>> dropout_add(torch.ones(4), torch.full((4,), 10.0), key=0x8B1EF9904FBD598E, p=0.5)
    tensor([10., 12., 12., 10.])
    """
    if (x.shape, x.dtype, x.device) != (residual.shape, residual.dtype, residual.device):
        raise UsageError(
            f"`residual` must be like `x`; got {tuple(residual.shape)} {residual.dtype} for "
            f"{tuple(x.shape)} {x.dtype}. Expand or convert it."
        )
    dropped_below = threshold(p)
    if 0 < dropped_below < ONE and isinstance(key, int) and is_plain(x) and is_plain(residual):
        mask = MaskPlan(key, dropped_below, window)
        if not ((x.requires_grad or residual.requires_grad) and torch.is_grad_enabled()):
            return select(x).dropout_add(x, residual, mask)
        y: Tensor = _DropoutAdd.apply(x, residual, mask)
        return y
    return residual + dropout(x, key, p, window=window)


class _DropoutAdd(torch.autograd.Function):
    """The gradient of `residual` is that of the result, the gradient of `x` is dropout's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, mask: MaskPlan) -> Tensor:
        ctx.mask = mask
        return select(x).dropout_add(x, residual, mask)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        mask: MaskPlan = ctx.mask
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = dropout(grad, mask.key, mask.threshold / ONE, window=mask.window)
        return grad_x, grad, None
