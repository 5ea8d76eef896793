"""Dropout under torch.func: grad, jvp and vmap of a function that drops."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from redrop.mask.window import Window


class DropoutUnderTransform(torch.autograd.Function):
    """Dropout in the form that torch.func asks for: the context is set up apart from forward.

    Dropout is linear in its input, so gradient and tangent are dropped by the same mask. Under vmap
    the coordinates are those of one example. One key is one mask, which all examples share; keys
    that are mapped over are a mask for each, as in a loop over the examples.
    """

    @staticmethod
    def forward(
        x: Tensor,
        key: int | Tensor,
        p: float,
        window: Window | None,
        shared: tuple[int, ...],
        dropout: Callable[..., Tensor],
    ) -> Tensor:
        return dropout(x, key, p, window=window, shared=shared)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        _, ctx.key, *ctx.where = inputs
        if isinstance(ctx.key, Tensor):
            ctx.save_for_backward(ctx.key)
            ctx.save_for_forward(ctx.key)
            ctx.key = None

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        return _drop_likewise(ctx, grad), None, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        return _drop_likewise(ctx, tangent)

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        x: Tensor,
        key: int | Tensor,
        p: float,
        window: Window | None,
        shared: tuple[int, ...],
        dropout: Callable[..., Tensor],
    ) -> tuple[Tensor, int]:
        if in_dims[0] is None:
            examples_first = x.expand(info.batch_size, *x.shape)
        else:
            examples_first = x.movedim(in_dims[0], 0)
        if in_dims[1] is not None and isinstance(key, Tensor):
            return _drop_each(
                examples_first, key.movedim(in_dims[1], 0), p, window, shared, dropout
            ), 0
        if window is not None:
            window = Window((info.batch_size, *window.sizes), (0, *window.offset))
        ndim = examples_first.dim() - 1
        shared = (0, *(dim % ndim + 1 for dim in shared))
        y = DropoutUnderTransform.apply(examples_first, key, p, window, shared, dropout)
        return y, 0


def _drop_likewise(ctx: Any, x: Tensor) -> Tensor:
    """Drop a gradient or a tangent by the mask of its call."""
    key = ctx.saved_tensors[0] if ctx.key is None else ctx.key
    y: Tensor = DropoutUnderTransform.apply(x, key, *ctx.where)
    return y


def _drop_each(examples: Tensor, keys: Tensor, *where: Any) -> Tensor:
    """Drop each example by the mask of its key."""
    if len(examples) == 0:
        return examples
    each = zip(examples, keys, strict=True)
    return torch.stack([DropoutUnderTransform.apply(x, key, *where) for x, key in each])
