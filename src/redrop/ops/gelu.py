"""dropout(gelu(x + bias)) in one pass over memory, as an operation with derivatives."""

from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from redrop.kernels.dispatch import select_gelu
from redrop.kernels.plan import MaskPlan
from redrop.mask.threshold import ONE, threshold
from redrop.mask.window import Window
from redrop.ops.dropout import dropout
from redrop.ops.plain import is_plain, only_gradients


def gelu_dropout(
    x: Tensor,
    bias: Tensor | None,
    key: int | Tensor,
    p: float,
    *,
    approximate: Literal["none", "tanh"] = "none",
    window: Window | None = None,
) -> Tensor:
    """Return gelu(x + bias) · keep / (1 - p), the inside of a feed-forward block.

    Backward computes the activation anew from `x`: neither it nor a mask is kept.

    Args:
        x: What the first linear layer gives without its bias, float32 or bfloat16 for the fast
            kernel.
        bias: One number per channel (the last dimension), or None.
        key: Of the mask, from `redrop.mask.mask_key`.
        p: Probability of dropping.
        approximate: As in `torch.nn.functional.gelu`.
        window: Where `x` stands in the whole tensor of the whole job; by default it is the whole.

    Returns:
        A tensor like `x`; differentiable any number of times.

    Raises:
        UsageError: p outside [0, 1], or a bias that does not fit.

    References:
        Hendrycks, Gimpel: Gaussian Error Linear Units, 2016. https://arxiv.org/abs/1606.08415

    >>> y = gelu_dropout(torch.ones(4), torch.zeros(4), key=0x8B1EF9904FBD598E, p=0.5)
    >>> [round(v, 4) for v in y.tolist()]
    [0.0, 1.6827, 1.6827, 0.0]
    """
    dropped_below = threshold(p)
    y: Tensor
    if dropped_below < ONE and isinstance(key, int):
        mask = MaskPlan(key, dropped_below, window)
        if all(map(is_plain, _present(x, bias))):
            y = _GeluDropout.apply(x, bias, mask, approximate)
            return y
        if torch._C._are_functorch_transforms_active() and only_gradients():
            y = _GeluUnderGrad.apply(x, bias, mask, approximate)
            return y
    return _composite(x, bias, key, p, approximate, window)


def _composite(
    x: Tensor,
    bias: Tensor | None,
    key: int | Tensor,
    p: float,
    approximate: str,
    window: Window | None,
) -> Tensor:
    z = x if bias is None else x + bias
    return dropout(F.gelu(z, approximate=approximate), key, p, window=window)


class _GeluDropout(torch.autograd.Function):
    """The fused kernels; a second derivative goes through single operations."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, bias: Tensor | None, mask: MaskPlan, approximate: str
    ) -> Tensor:
        ctx.mask, ctx.approximate = mask, approximate
        ctx.save_for_backward(x, bias)
        return select_gelu(x).gelu_dropout(x, bias, mask, approximate)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        x, bias = ctx.saved_tensors
        mask: MaskPlan = ctx.mask
        if not torch.is_grad_enabled():
            gradients = select_gelu(x).gelu_dropout_backward(grad, x, bias, mask, ctx.approximate)
            return *gradients, None, None
        y = _composite(x, bias, mask.key, mask.threshold / ONE, ctx.approximate, mask.window)
        needed = [
            t for t, is_needed in zip((x, bias), ctx.needs_input_grad, strict=False) if is_needed
        ]
        found = iter(torch.autograd.grad(y, needed, grad, create_graph=True))
        grad_x, grad_bias = (next(found) if needs else None for needs in ctx.needs_input_grad[:2])
        return grad_x, grad_bias, None, None


class _GeluUnderGrad(torch.autograd.Function):
    """The same under torch.func.grad and vjp, which ask for the context apart from forward."""

    @staticmethod
    def forward(x: Tensor, bias: Tensor | None, mask: MaskPlan, approximate: str) -> Tensor:
        return select_gelu(x).gelu_dropout(x, bias, mask, approximate)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, bias, *ctx.how = inputs
        ctx.save_for_backward(x, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, bias = ctx.saved_tensors
        if only_gradients():
            gradients = _GradientsUnderGrad.apply(grad, x, bias, *ctx.how)
        else:  # a jacobian asks for the gradients of many vectors at once
            gradients = _pull(grad, _present(x, bias), *ctx.how)
        return *gradients, *(None,) * (4 - len(gradients))


class _GradientsUnderGrad(torch.autograd.Function):
    """The gradients of `x` and of the bias, if there is one; theirs go through plain PyTorch."""

    @staticmethod
    def forward(
        grad: Tensor, x: Tensor, bias: Tensor | None, mask: MaskPlan, approximate: str
    ) -> tuple[Tensor, ...]:
        return _present(*select_gelu(x).gelu_dropout_backward(grad, x, bias, mask, approximate))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        grad, x, bias, *ctx.how = inputs
        ctx.save_for_backward(grad, x, bias)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        grad, x, bias = ctx.saved_tensors

        def first(grad: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            return _pull(grad, tensors, *ctx.how)

        gradients = torch.func.vjp(first, grad, *_present(x, bias))[1](upstream)
        return *gradients, *(None,) * (5 - len(gradients))


def _present(x: Tensor, bias: Tensor | None) -> tuple[Tensor, ...]:
    return (x,) if bias is None else (x, bias)


def _pull(
    grad: Tensor, tensors: tuple[Tensor, ...], mask: MaskPlan, approximate: str
) -> tuple[Tensor, ...]:
    """Return the gradients at `tensors`, which are `x` and a bias, by plain PyTorch."""

    def activate(x: Tensor, bias: Tensor | None = None) -> Tensor:
        p = mask.threshold / ONE
        return _composite(x, bias, mask.key, p, approximate, mask.window)

    return cast(tuple[Tensor, ...], torch.func.vjp(activate, *tensors)[1](grad))
