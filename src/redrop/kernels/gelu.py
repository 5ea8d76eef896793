"""dropout(gelu(x + bias)) and its gradients, each in one pass over memory, in C++ (csrc/gelu.h).

Backward builds the activation again from `x`, so nothing else is stored. All arithmetic is
float32. The bits of a result depend neither on the number of threads nor on the instruction set.
"""

import torch
from torch import Tensor

from redrop import _core
from redrop.errors import UsageError
from redrop.kernels.cpu import PARALLEL_FROM, fused_dims
from redrop.kernels.cpu import STORAGE as ALL_STORAGE
from redrop.kernels.memory import empty_like
from redrop.kernels.plan import MaskPlan

STORAGE = {dtype: ALL_STORAGE[dtype] for dtype in (torch.float32, torch.bfloat16)}
APPROXIMATIONS = {"none": False, "tanh": True}


def gelu_dropout(
    x: Tensor,
    bias: Tensor | None,
    mask: MaskPlan,
    approximate: str = "none",
    isa: str = "",
) -> Tensor:
    """Return keep ? gelu(x + bias) / (1 - T / 2^32) : 0.

    Args:
        x: A CPU tensor, float32 or bfloat16, of at least one dimension.
        bias: One number per element of the last dimension, like `x`; None for none.
        mask: Which elements are kept.
        approximate: "none" for z P(Z < z), "tanh" for its approximation, as in `F.gelu`.
        isa: Instruction set, one of `_core.isa()`; by default the best.

    Returns:
        A contiguous tensor.

    Raises:
        UsageError: The tensors cannot be used, an unknown approximation, or a window or shared
            dimension that does not fit.
    """
    check(x, bias, approximate)
    x = x.resolve_neg().contiguous()
    out = empty_like(x)
    _call(x, bias, None, out, None, mask, approximate, isa)
    return out


def gelu_dropout_backward(
    grad: Tensor,
    x: Tensor,
    bias: Tensor | None,
    mask: MaskPlan,
    approximate: str = "none",
    isa: str = "",
) -> tuple[Tensor, Tensor | None]:
    """Return the gradients of `x` and, if there is one, of `bias`; arguments as in forward.

    grad_x = keep ? grad * gelu'(x + bias) / (1 - T / 2^32) : 0; grad_bias is its sum over all rows.

    Raises:
        UsageError: As in forward, or a gradient that is not like `x`.
    """
    check(x, bias, approximate)
    check_grad(grad, x)
    x, grad = x.resolve_neg().contiguous(), grad.resolve_neg().contiguous()
    grad_x = empty_like(x)
    sums = None if bias is None else torch.zeros(bias.shape, dtype=torch.float32)
    _call(x, bias, grad, grad_x, sums, mask, approximate, isa)
    return grad_x, None if sums is None else sums.to(x.dtype)


def _call(
    x: Tensor,
    bias: Tensor | None,
    grad: Tensor | None,
    out: Tensor,
    sums: Tensor | None,
    mask: MaskPlan,
    approximate: str,
    isa: str,
) -> None:
    dims = fused_dims(x, mask)
    count = x.numel()
    if not count:
        return
    if bias is not None:
        bias = bias.resolve_neg().contiguous()
    _core.gelu(
        x.data_ptr(),
        0 if bias is None else bias.data_ptr(),
        0 if grad is None else grad.data_ptr(),
        out.data_ptr(),
        0 if sums is None else sums.data_ptr(),
        APPROXIMATIONS[approximate],
        STORAGE[x.dtype],
        x.shape,
        dims,
        mask.key,
        mask.threshold,
        1 if count < PARALLEL_FROM else torch.get_num_threads(),
        isa,
    )


def check(x: Tensor, bias: Tensor | None, approximate: str) -> None:
    """Refuse what the native kernel cannot take.

    Raises:
        UsageError: Dtype, device, dimensions, bias or approximation do not fit.
    """
    if x.dtype not in STORAGE or not x.is_cpu or x.dim() == 0:
        raise UsageError(
            "The GELU kernel takes float32 or bfloat16 CPU tensors with a last dimension; got "
            f"{x.dtype} on {x.device} of shape {tuple(x.shape)}. Convert it, or use the eager one."
        )
    if approximate not in APPROXIMATIONS:
        raise UsageError(f"`approximate` must be 'none' or 'tanh'; got {approximate!r}.")
    if bias is not None and (bias.shape, bias.dtype, bias.device) != (
        x.shape[-1:],
        x.dtype,
        x.device,
    ):
        raise UsageError(
            "`bias` must have one number per element of the last dimension, like `x`; got "
            f"{tuple(bias.shape)} {bias.dtype} {bias.device} for "
            f"{tuple(x.shape)} {x.dtype} {x.device}. Convert it."
        )


def check_grad(grad: Tensor, x: Tensor) -> None:
    """Refuse a gradient that is not like `x`.

    Raises:
        UsageError: Shape, dtype or device differ.
    """
    if (grad.shape, grad.dtype, grad.device) != (x.shape, x.dtype, x.device):
        raise UsageError(
            "`grad` must be like `x`; got "
            f"{tuple(grad.shape)} {grad.dtype} {grad.device} for "
            f"{tuple(x.shape)} {x.dtype} {x.device}. Expand or convert it."
        )
