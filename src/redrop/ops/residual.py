"""residual + dropout(x) in one pass over memory, as an operation with derivatives.

The gradient of the residual is that of the sum, the gradient of `x` is dropout's. Under autocast
`x` is of half precision and the residual stream float32: no pass widens `x`, and its gradient comes
in its dtype straight from the float32 one.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.kernels.dispatch import select
from redrop.kernels.plan import MaskPlan
from redrop.mask.threshold import ONE, threshold
from redrop.mask.window import Window
from redrop.ops.dropout import dropout
from redrop.ops.key import as_key_tensor
from redrop.ops.plain import is_plain
from redrop.ops.window import from_schema, to_schema

HALF = (torch.bfloat16, torch.float16)
"""What `x` may be beside a float32 residual."""

_library = torch.library.Library("redrop", "FRAGMENT")
_library.define(
    "dropout_add(Tensor x, Tensor residual, Tensor key, int threshold, SymInt[]? sizes,"
    " SymInt[]? offset) -> Tensor"
)
_library.define(
    "dropout_add_backward(Tensor grad, Tensor key, int threshold, SymInt[]? sizes,"
    " SymInt[]? offset, ScalarType dtype) -> Tensor"
)


def dropout_add(
    x: Tensor,
    residual: Tensor,
    key: int | Tensor,
    p: float,
    *,
    window: Window | None = None,
) -> Tensor:
    """Return residual + x · keep / (1 - p), rounded once to the dtype of the residual.

    What costs in dropout is the pass over memory; the residual connection makes one anyway.
    Under a transform of torch.func it is a dropout and an add, which round twice in half precision.

    Args:
        x: Output of a sub-layer; its dropout is that of `redrop.ops.dropout`.
        residual: Like `x`, or float32 for an `x` in half precision.
        key: Of the mask, from `redrop.mask.mask_key`; as a 0-d int64 tensor where it is traced.
        p: Probability that an element of `x` is dropped. 0 adds, 1 leaves the residual.
        window: Where `x` stands in the whole tensor of the whole job; by default it is the whole.

    Returns:
        A tensor like `residual`; differentiable any number of times.

    Raises:
        UsageError: p outside [0, 1], or `residual` does not go with `x`.

    >>> dropout_add(torch.ones(4), torch.full((4,), 10.0), key=0x8B1EF9904FBD598E, p=0.5)
    tensor([10., 12., 12., 10.])
    """
    if not is_addable(x.dtype, residual.dtype) or (x.shape, x.device) != (
        residual.shape,
        residual.device,
    ):
        raise UsageError(
            "`residual` must be like `x`, or float32 for an `x` in half precision; got "
            f"{tuple(residual.shape)} {residual.dtype} for {tuple(x.shape)} {x.dtype}. "
            "Expand or convert it."
        )
    dropped_below = threshold(p)
    y: Tensor
    if not 0 < dropped_below < ONE:
        y = residual + dropout(x, key, p, window=window)
    elif isinstance(key, int) and is_plain(x) and is_plain(residual):
        mask = MaskPlan(key, dropped_below, window)
        if (x.requires_grad or residual.requires_grad) and torch.is_grad_enabled():
            y = _DropoutAdd.apply(x, residual, mask)
        else:
            y = select(x).dropout_add(x, residual, mask)
    elif torch._C._are_functorch_transforms_active():
        y = residual + dropout(x.to(residual.dtype), key, p, window=window)
    else:
        where = to_schema(window)
        y = torch.ops.redrop.dropout_add(x, residual, as_key_tensor(key), dropped_below, *where)
    return y


def is_addable(x: torch.dtype, residual: torch.dtype) -> bool:
    """Say whether `dropout_add` takes an `x` and a residual of these dtypes.

    >>> is_addable(torch.bfloat16, torch.float32), is_addable(torch.float32, torch.bfloat16)
    (True, False)
    """
    return x == residual or (residual == torch.float32 and x in HALF)


class _DropoutAdd(torch.autograd.Function):
    """The sum of plain tensors; the context is set in forward, which is the cheaper style."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, mask: MaskPlan) -> Tensor:
        ctx.mask, ctx.dtype = mask, x.dtype
        return select(x).dropout_add(x, residual, mask)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        mask: MaskPlan = ctx.mask
        grad_x = None
        if ctx.needs_input_grad[0]:
            if is_plain(grad) and not torch.is_grad_enabled():
                grad_x = _drop(grad, mask, ctx.dtype)
            else:  # to be differentiated once more, or traced
                grad_x = dropout(grad, mask.key, mask.threshold / ONE, window=mask.window)
                grad_x = grad_x.to(ctx.dtype)
        return grad_x, grad, None


def _drop(grad: Tensor, mask: MaskPlan, dtype: torch.dtype) -> Tensor:
    """Return grad · keep / (1 - p), rounded once to the dtype of `x`."""
    if grad.dtype == dtype:
        return select(grad).dropout(grad, mask.key, mask.threshold, mask.window)
    return select(grad).dropout_add(grad, None, mask, dtype=dtype)


@torch.library.impl(_library, "dropout_add", "CompositeExplicitAutograd")
def _operator(
    x: Tensor,
    residual: Tensor,
    key: Tensor,
    threshold: int,
    sizes: list[int] | None,
    offset: list[int] | None,
) -> Tensor:
    return select(x).dropout_add(x, residual, _plan(key, threshold, sizes, offset))


@torch.library.register_fake("redrop::dropout_add", lib=_library)  # type: ignore[untyped-decorator]
def _fake(x: Tensor, residual: Tensor, *_: object) -> Tensor:
    return torch.empty_like(residual, memory_format=torch.contiguous_format)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, _, key, *ctx.where = inputs
    ctx.dtype = x.dtype
    ctx.save_for_backward(key)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None, None, None]:
    (key,) = ctx.saved_tensors
    grad_x = None
    if ctx.needs_input_grad[0]:
        grad_x = torch.ops.redrop.dropout_add_backward(grad, key, *ctx.where, ctx.dtype)
    return grad_x, grad, None, None, None, None


torch.library.register_autograd(
    "redrop::dropout_add", _backward, setup_context=_setup_context, lib=_library
)


@torch.library.impl(_library, "dropout_add_backward", "CompositeExplicitAutograd")
def _gradient_operator(
    grad: Tensor,
    key: Tensor,
    threshold: int,
    sizes: list[int] | None,
    offset: list[int] | None,
    dtype: torch.dtype,
) -> Tensor:
    return _drop(grad.contiguous(), _plan(key, threshold, sizes, offset), dtype)


@torch.library.register_fake(  # type: ignore[untyped-decorator]
    "redrop::dropout_add_backward", lib=_library
)
def _gradient_fake(
    grad: Tensor,
    key: Tensor,
    threshold: int,
    sizes: Sequence[int] | None,
    offset: Sequence[int] | None,
    dtype: torch.dtype,
) -> Tensor:
    return torch.empty_like(grad, dtype=dtype, memory_format=torch.contiguous_format)


def _setup_gradient(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    grad, key, *ctx.where, _ = inputs
    ctx.dtype = grad.dtype
    ctx.save_for_backward(key)


def _gradient_backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    (key,) = ctx.saved_tensors
    wide = torch.ops.redrop.dropout(upstream.to(ctx.dtype), key, *ctx.where, [])
    return wide, None, None, None, None, None


torch.library.register_autograd(
    "redrop::dropout_add_backward", _gradient_backward, setup_context=_setup_gradient, lib=_library
)


def _plan(
    key: Tensor, threshold: int, sizes: list[int] | None, offset: list[int] | None
) -> MaskPlan:
    return MaskPlan(int(key) % 2**64, threshold, from_schema(sizes, offset))
