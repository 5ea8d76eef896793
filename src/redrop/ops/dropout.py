"""Elementwise dropout as an operator: schema, fake and autograd around the kernels.

Backward is the same function applied to the gradient: it gets the integers that name the mask and
regenerates it, so nothing but these integers is kept for it.

Two ways lead to the same kernel. Plain tensors in eager mode call it directly, through an autograd
function in the style with the least overhead: registering a formula with an operator costs twice
the whole call at small sizes (docs/LOG.md). Everything that traces or wraps tensors (torch.compile,
fake tensors, dispatch modes, subclasses) goes through the operator `redrop::dropout`. Its key
is a tensor, not a number: a compiled graph then serves every step.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from redrop.kernels.dispatch import select
from redrop.mask.threshold import ONE, threshold
from redrop.mask.window import Window
from redrop.ops.key import as_key_tensor
from redrop.ops.plain import is_plain, refuse_unusable
from redrop.ops.transform import DropoutUnderTransform
from redrop.ops.window import from_schema, to_schema

Mask = tuple[int, int, Window | None, tuple[int, ...]]
"""The integers that name a mask: key, threshold, window and shared dimensions."""

_library = torch.library.Library("redrop", "FRAGMENT")
_library.define(
    "dropout(Tensor x, Tensor key, int threshold, SymInt[]? sizes, SymInt[]? offset, int[] shared)"
    " -> Tensor"
)


def dropout(
    x: Tensor,
    key: int | Tensor,
    p: float,
    *,
    window: Window | None = None,
    shared: Sequence[int] = (),
    inplace: bool = False,
) -> Tensor:
    """Zero each element with probability p and multiply the survivors by 1 / (1 - p).

    y = x / (1 - p) where kept, 0 where dropped; the element at (plane, row, col) is dropped iff its
    32 random bits under `key` lie below floor(p * 2^32) (SPEC.md).

    Args:
        x: Any shape, float32, float64, bfloat16 or float16.
        key: Of the mask, from `redrop.mask.mask_key`; as a 0-d int64 tensor where it is traced.
        p: Probability of dropping. 0 returns `x` itself, 1 returns zeros with zero gradients.
        window: Where `x` stands in the whole tensor of the whole job; by default it is the whole.
        shared: Dimensions whose elements share one decision.
        inplace: Write into `x`.

    Returns:
        A tensor like `x`; differentiable any number of times.

    Raises:
        UsageError: p outside [0, 1], a dtype without dropout, a window that `x` leaves, or `x` is
            no dense tensor.

    References:
        Srivastava et al.: Dropout. JMLR 15, 2014. https://jmlr.org/papers/v15/srivastava14a.html

    >>> dropout(torch.ones(8), key=0x8B1EF9904FBD598E, p=0.5)
    tensor([0., 2., 2., 0., 0., 0., 0., 2.])
    """
    dropped_below = threshold(p)
    if dropped_below == 0:
        return x
    if isinstance(key, int) and is_plain(x):
        mask = (key, dropped_below, window, tuple(shared))
        if not (x.requires_grad and torch.is_grad_enabled()):
            return _run(x, mask, inplace)
        y: Tensor = _Dropout.apply(x, mask, inplace)
        return y
    if torch._C._are_functorch_transforms_active():
        y = DropoutUnderTransform.apply(x, key, p, window, tuple(shared), dropout)
        return x.copy_(y) if inplace else y
    sizes, offset = to_schema(window)
    where = (as_key_tensor(key), dropped_below, sizes, offset, list(shared))
    try:
        y = torch.ops.redrop.dropout(x, *where)
    except RuntimeError:
        refuse_unusable(x)
        raise
    return x.copy_(y) if inplace else y


class _Dropout(torch.autograd.Function):
    """Dropout of plain tensors; the context is set in forward, which is the cheaper style."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Mask, inplace: bool) -> Tensor:
        ctx.mask = mask
        if inplace:
            ctx.mark_dirty(x)
        return _run(x, mask, inplace)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        if not torch.is_grad_enabled() and is_plain(grad):
            return _run(grad, ctx.mask, False), None, None
        key, threshold, window, shared = ctx.mask  # to be differentiated once more, or traced
        return dropout(grad, key, threshold / ONE, window=window, shared=shared), None, None


def _run(x: Tensor, mask: Mask, inplace: bool) -> Tensor:
    key, threshold, window, shared = mask
    if threshold == ONE:
        return x.zero_() if inplace else torch.zeros_like(x)
    try:
        return select(x).dropout(x, key, threshold, window, shared, x if inplace else None)
    except RuntimeError:
        refuse_unusable(x)
        raise


@torch.library.impl(_library, "dropout", "CompositeExplicitAutograd")
def _operator(
    x: Tensor,
    key: Tensor,
    threshold: int,
    sizes: list[int] | None,
    offset: list[int] | None,
    shared: list[int],
) -> Tensor:
    window = from_schema(sizes, offset)
    return _run(x, (int(key) % 2**64, threshold, window, tuple(shared)), False)


@torch.library.register_fake("redrop::dropout", lib=_library)  # type: ignore[untyped-decorator]
def _fake(
    x: Tensor,
    key: Tensor,
    threshold: int,
    sizes: list[int] | None,
    offset: list[int] | None,
    shared: list[int],
) -> Tensor:
    return torch.empty_like(x)


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, key, *ctx.where = inputs
    ctx.save_for_backward(key)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
    (key,) = ctx.saved_tensors
    return torch.ops.redrop.dropout(grad, key, *ctx.where), None, None, None, None, None


torch.library.register_autograd(
    "redrop::dropout", _backward, setup_context=_setup_context, lib=_library
)
