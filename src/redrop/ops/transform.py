"""Dropout under torch.func: grad, jvp and vmap of a function that drops."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from redrop.mask.window import Window


class DropoutUnderTransform(torch.autograd.Function):
    """Dropout in the form that torch.func asks for: the context is set up apart from forward.

    Dropout is linear in its input, so gradient and tangent are dropped by the same mask. Under vmap
    the coordinates are those of one example: all examples share a mask.
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
        ctx.mask = inputs[1:]

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        return DropoutUnderTransform.apply(grad, *ctx.mask), None, None, None, None, None

    @staticmethod
    def jvp(ctx: Any, tangent: Tensor, *_: None) -> Tensor:
        result: Tensor = DropoutUnderTransform.apply(tangent, *ctx.mask)
        return result

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
        examples_first = x.movedim(in_dims[0] or 0, 0)
        if window is not None:
            window = Window((info.batch_size, *window.sizes), (0, *window.offset))
        ndim = x.dim() - 1
        shared = (0, *(dim % ndim + 1 for dim in shared))
        y = DropoutUnderTransform.apply(examples_first, key, p, window, shared, dropout)
        return y, 0
