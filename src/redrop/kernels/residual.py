"""residual + dropout(x) in one pass over memory, in C++ (csrc/residual.h)."""

import torch
from torch import Tensor

from redrop import _core
from redrop.errors import UsageError
from redrop.kernels.cpu import PARALLEL_FROM, STORAGE, fused_dims
from redrop.kernels.memory import empty, empty_like
from redrop.kernels.plan import MaskPlan

HALF = (torch.bfloat16, torch.float16)
"""What `x` may be beside a float32 residual, as autocast makes it."""


def dropout_add(
    x: Tensor,
    residual: Tensor | None,
    mask: MaskPlan,
    isa: str = "",
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return residual + (keep ? x / (1 - T / 2^32) : 0), rounded once to the residual's dtype.

    The gradient of `residual` is that of the result; the gradient of `x` is dropout's. For an `x`
    in half precision beside a float32 residual it is this function without a residual: the float32
    gradient is dropped and rounded once to the dtype of `x`.

    Args:
        x: A CPU tensor of a dtype in `redrop.kernels.cpu.STORAGE`.
        residual: Like `x`, or float32 for a half-precision `x`; None for that gradient.
        mask: Which elements are kept.
        isa: Instruction set, one of `_core.isa()`; by default the best.
        dtype: Of the result where there is no residual: half precision, and `x` is float32.

    Returns:
        A contiguous tensor.

    Raises:
        UsageError: The tensors cannot be used, or a window or shared dimension does not fit.
    """
    if x.dtype not in STORAGE or not x.is_cpu:
        raise UsageError(
            "The CPU kernel takes floating-point CPU tensors; got "
            f"{x.dtype} on {x.device}. Convert it, or use the eager kernel."
        )
    if residual is not None:
        check_residual(x, residual)
        residual, dtype = residual.resolve_neg().contiguous(), residual.dtype
    elif x.dtype != torch.float32 or dtype not in HALF:
        raise UsageError(
            "Without `residual`, float32 is dropped and rounded to bfloat16 or float16; got "
            f"{x.dtype} for {dtype}. Use `dropout`."
        )
    x = x.resolve_neg().contiguous()
    dims = fused_dims(x, mask)
    out = empty(x.shape, dtype) if residual is None else empty_like(residual)
    count = x.numel()
    if count:
        _core.dropout_add(
            x.data_ptr(),
            0 if residual is None else residual.data_ptr(),
            out.data_ptr(),
            STORAGE[x.dtype],
            STORAGE[dtype],
            x.shape,
            dims,
            mask.key,
            mask.threshold,
            1 if count < PARALLEL_FROM else torch.get_num_threads(),
            isa,
        )
    return out


def check_residual(x: Tensor, residual: Tensor) -> None:
    """Refuse a residual that cannot be added to `x` without a conversion.

    Raises:
        UsageError: Shape or device differ, or the dtypes do not go together.
    """
    is_mixed = residual.dtype == torch.float32 and x.dtype in HALF
    fits = is_mixed or residual.dtype == x.dtype
    if not fits or (residual.shape, residual.device) != (x.shape, x.device):
        raise UsageError(
            "`residual` must be like `x`, or float32 for an `x` in half precision; got "
            f"{tuple(residual.shape)} {residual.dtype} {residual.device} for "
            f"{tuple(x.shape)} {x.dtype} {x.device}. Expand or convert it."
        )
