"""residual + dropout(x) in one pass over memory, in C++ (csrc/residual.h)."""

import torch
from torch import Tensor

from redrop import _core
from redrop.errors import UsageError
from redrop.kernels.cpu import PARALLEL_FROM, STORAGE, fused_dims
from redrop.kernels.memory import empty_like
from redrop.kernels.plan import MaskPlan


def dropout_add(
    x: Tensor,
    residual: Tensor,
    mask: MaskPlan,
    isa: str = "",
) -> Tensor:
    """Return residual + (keep ? x / (1 - T / 2^32) : 0), rounded once to the dtype.

    The gradient of `residual` is that of the result; the gradient of `x` is dropout's.

    Args:
        x: A CPU tensor of a dtype in `redrop.kernels.cpu.STORAGE`.
        residual: Like `x`.
        mask: Which elements are kept.
        isa: Instruction set, one of `_core.isa()`; by default the best.

    Returns:
        A contiguous tensor.

    Raises:
        UsageError: The tensors cannot be used, or a window or shared dimension does not fit.
    """
    storage = STORAGE.get(x.dtype)
    if storage is None or not x.is_cpu:
        raise UsageError(
            "The CPU kernel takes floating-point CPU tensors; got "
            f"{x.dtype} on {x.device}. Convert it, or use the eager kernel."
        )
    check_residual(x, residual)
    x, residual = x.resolve_neg().contiguous(), residual.resolve_neg().contiguous()
    dims = fused_dims(x, mask)
    out = empty_like(x)
    count = x.numel()
    if count:
        _core.dropout_add(
            x.data_ptr(),
            residual.data_ptr(),
            out.data_ptr(),
            storage,
            x.shape,
            dims,
            mask.key,
            mask.threshold,
            1 if count < PARALLEL_FROM else torch.get_num_threads(),
            isa,
        )
    return out


def check_residual(x: Tensor, residual: Tensor) -> None:
    """Refuse a residual that is not like `x`.

    Raises:
        UsageError: Shape, dtype or device differ.
    """
    if (residual.shape, residual.dtype, residual.device) != (x.shape, x.dtype, x.device):
        raise UsageError(
            "`residual` must be like `x`; got "
            f"{tuple(residual.shape)} {residual.dtype} {residual.device} for "
            f"{tuple(x.shape)} {x.dtype} {x.device}. Expand or convert it."
        )
