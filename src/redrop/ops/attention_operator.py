"""Attention as an operator, for all that traces or wraps tensors: schema, kernel, fake, backward.

Beside `redrop::dropout` this is the second operator whose key is a tensor, so that a compiled graph
serves every step. A fake has to promise strides, so the operator fixes them, whichever kernel runs:
the output is (B, T, H, Dv) in memory, and a gradient lies as its tensor does.

Shape legend: B batch, H heads, T query tokens, S key tokens, D head size.
"""

from typing import Any

import torch
from torch import Tensor

from redrop.kernels.attention_dispatch import select_attention
from redrop.kernels.attention_plan import AttentionPlan, empty_normalizer
from redrop.ops.attention_composite import composite_gradients
from redrop.ops.window import from_schema

_library = torch.library.Library("redrop", "FRAGMENT")
_WHERE = "Tensor mask_key, int threshold, bool is_causal, float scale, SymInt[]? sizes, "
_WHERE += "SymInt[]? offset"
_library.define(
    f"attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask, {_WHERE})"
    " -> (Tensor out, Tensor normalizer)"
)
_library.define(
    "attention_backward(Tensor grad_out, Tensor query, Tensor key, Tensor value, Tensor out,"
    f" Tensor normalizer, Tensor? attn_mask, {_WHERE}, bool needs_mask_gradient) -> Tensor[]"
)


def _plan(
    mask_key: Tensor,
    threshold: int,
    is_causal: bool,
    scale: float,
    sizes: list[int] | None,
    offset: list[int] | None,
) -> AttentionPlan:
    return AttentionPlan(
        scale=scale,
        is_causal=is_causal,
        key=int(mask_key) % 2**64,
        threshold=threshold,
        window=from_schema(sizes, offset),
    )


@torch.library.impl(_library, "attention", "CompositeExplicitAutograd")
def _forward(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, *where: Any
) -> tuple[Tensor, Tensor]:
    out, normalizer = select_attention(query).forward(query, key, value, attn_mask, _plan(*where))
    return out.transpose(1, 2).contiguous().transpose(1, 2), normalizer


def _fake_forward(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, *where: Any
) -> tuple[Tensor, Tensor]:
    B, H, T, _ = query.shape
    out = query.new_empty(B, T, H, value.shape[-1]).transpose(1, 2)
    return out, empty_normalizer(query)


@torch.library.impl(_library, "attention_backward", "CompositeExplicitAutograd")
def _run_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    normalizer: Tensor,
    attn_mask: Tensor | None,
    *where: Any,
) -> list[Tensor]:
    *place, needs_mask_gradient = where
    gradients = select_attention(query).backward(
        *(grad_out, query, key, value, out, normalizer, attn_mask, _plan(*place)),
        needs_mask_gradient=needs_mask_gradient,
    )
    inputs = (query, key, value, attn_mask)
    return [
        _laid_out_like(x, gradient)
        for x, gradient in zip(inputs, gradients, strict=True)
        if x is not None and gradient is not None
    ]


def _laid_out_like(x: Tensor, gradient: Tensor) -> Tensor:
    promised = torch.empty_like(x)
    return gradient if gradient.stride() == promised.stride() else promised.copy_(gradient)


def _fake_backward(
    grad_out: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    normalizer: Tensor,
    attn_mask: Tensor | None,
    *where: Any,
) -> list[Tensor]:
    *_, needs_mask_gradient = where
    gradients = [torch.empty_like(x) for x in (query, key, value)]
    if needs_mask_gradient and attn_mask is not None:
        gradients.append(torch.empty_like(attn_mask))
    return gradients


def _setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    query, key, value, attn_mask, mask_key, *ctx.where = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(query, key, value, attn_mask, mask_key, *output)


def _backward(ctx: Any, grad_out: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    query, key, value, attn_mask, mask_key, out, normalizer = ctx.saved_tensors
    needs = ctx.needs_input_grad[:4]
    gradients: list[Tensor | None]
    if torch.is_grad_enabled():  # to be differentiated once more: through plain PyTorch
        plan = _plan(mask_key, *ctx.where)
        gradients = composite_gradients((query, key, value, attn_mask), grad_out, plan, needs)
    else:
        gradients = torch.ops.redrop.attention_backward(
            *(grad_out, query, key, value, out, normalizer, attn_mask, mask_key, *ctx.where),
            needs[3],
        )
    return *gradients, *(None,) * (10 - len(gradients))


torch.library.register_fake("redrop::attention", _fake_forward, lib=_library)
torch.library.register_fake("redrop::attention_backward", _fake_backward, lib=_library)
torch.library.register_autograd(
    "redrop::attention", _backward, setup_context=_setup_context, lib=_library
)
