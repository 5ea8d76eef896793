"""Attention under torch.func.grad and vjp: the fused kernels, and the bits of ordinary autograd.

A function in the form that torch.func asks for, the context set up apart from forward. Its gradient
is such a function too, whose own gradient goes through plain PyTorch. Where something else than
gradients is asked for (vmap, jvp, jacobians), all of it is plain PyTorch.
"""

from typing import Any, cast

import torch
from torch import Tensor

from redrop.kernels.attention_tensors import AttentionInputs
from redrop.ops.attention_composite import composite
from redrop.ops.attention_operator import AttentionCall, keep, kept
from redrop.ops.plain import only_gradients

Tensors = tuple[Tensor, ...]


class AttentionUnderGrad(torch.autograd.Function):
    """The operator; takes the fields of a `AttentionCall`, gives (out, normalizer)."""

    @staticmethod
    def forward(*call: Any) -> Tensors:
        return cast(Tensors, torch.ops.redrop.attention(*call))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        ctx.mark_non_differentiable(output[1])
        keep(ctx, AttentionCall(*inputs), output)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        call, result = kept(ctx)
        if only_gradients():
            needs_mask = ctx.needs_input_grad[3]
            gradients = _GradientsUnderGrad.apply(grad_out, *result, needs_mask, *call)
        else:  # a jacobian asks for the gradients of many vectors at once
            gradients = _pull(grad_out, _differentiable(call.inputs), call)
        return *gradients, *(None,) * (len(call) - len(gradients))


class _GradientsUnderGrad(torch.autograd.Function):
    """The backward operator; takes (grad_out, out, normalizer, needs_mask_gradient, *call)."""

    @staticmethod
    def forward(*arguments: Any) -> Tensors:
        return tuple(torch.ops.redrop.attention_backward(*arguments))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensors) -> None:
        grad_out, _, _, _, *call = inputs
        ctx.count = len(output)
        keep(ctx, AttentionCall(*call), (grad_out,))

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        call, (grad_out,) = kept(ctx)
        tensors = _differentiable(call.inputs)

        def first(grad_out: Tensor, *tensors: Tensor) -> Tensors:
            return _pull(grad_out, tensors, call)[: ctx.count]

        pull = torch.func.vjp(first, grad_out, *tensors)[1]
        of_grad_out, *of_tensors = pull(upstream)
        return of_grad_out, None, None, None, *of_tensors, *(None,) * (len(call) - len(of_tensors))


def _differentiable(inputs: AttentionInputs) -> Tensors:
    return tuple(x for x in inputs if x is not None and x.is_floating_point())


def _pull(grad_out: Tensor, tensors: Tensors, call: AttentionCall) -> Tensors:
    """Return the gradients at `tensors`, which stand for the inputs of `call`, by plain PyTorch."""
    plan = call.plan()

    def attend(*tensors: Tensor) -> Tensor:
        names = AttentionInputs._fields  # a mask without gradient is the last of them
        return composite(call.inputs._replace(**dict(zip(names, tensors, strict=False))), plan)

    pull = torch.func.vjp(attend, *tensors)[1]
    return cast(Tensors, pull(grad_out))
