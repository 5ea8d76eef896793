"""Scaled dot-product attention with dropped weights, as an operator.

Forward keeps what PyTorch's own flash attention keeps: the inputs, the output and what normalized
each row. Weights and masks are never in memory as a whole; backward rebuilds both, tile by tile.

Shape legend: B batch, H heads, T query tokens, S key tokens, D head size.
"""

from typing import Any

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.kernels.attention_dispatch import select_attention
from redrop.kernels.attention_plan import AttentionPlan, Packed
from redrop.kernels.attention_tensors import AttentionInputs, AttentionResult
from redrop.mask.threshold import threshold
from redrop.mask.window import Window
from redrop.ops.attention_composite import composite, composite_gradients
from redrop.ops.attention_operator import as_call
from redrop.ops.attention_transform import AttentionUnderGrad
from redrop.ops.plain import is_plain, only_gradients


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    mask_key: int | Tensor = 0,
    window: Window | None = None,
    packed: Packed | None = None,
) -> Tensor:
    """Attend, with each single connection dropped with probability `dropout_p`.

    out = (keep · softmax(scale · Q Kᵀ + attn_mask) / (1 - p)) V. Rows are normalised before they
    are dropped, so they sum to 1 on average only. A query that may attend to nothing gives zeros.

    Args:
        query: (B, H, T, D); packed: (tokens, H, D).
        key: (B, H, S, D), or with fewer heads where `enable_gqa`.
        value: (B, H, S, Dv), with the heads of `key`.
        attn_mask: Boolean, True = may attend, or added to the scores; broadcasts to (B, H, T, S).
        dropout_p: Probability that a connection is dropped; it acts whatever the mode, as in torch.
        is_causal: Query i sees the keys j <= i, also where T and S differ, as in torch.
        scale: Factor of the scores; by default 1 / √D.
        enable_gqa: Let groups of query heads share a key head.
        mask_key: Of the dropout mask, from `redrop.mask.mask_key`; a 0-d tensor where it is traced.
        window: Where the weights (B, H, T, S) stand in those of the whole job.
        packed: Where sequences begin that stand one behind the other without padding; traced, the
            totals are looked at when the graph runs.

    Returns:
        (B, H, T, Dv); packed: (tokens, H, Dv).

    Raises:
        UsageError: Tensors that do not fit together, p outside [0, 1], a mask with `is_causal`, as
            torch refuses it too.

    References:
        Vaswani et al.: Attention Is All You Need, 2017. https://arxiv.org/abs/1706.03762
        Dao: FlashAttention-2, 2023 (tiles, online softmax). https://arxiv.org/abs/2307.08691

    >>> q = torch.ones(1, 1, 4, 8)
    >>> attention(q, q, q, is_causal=True).shape
    torch.Size([1, 1, 4, 8])
    """
    dropped_below = threshold(dropout_p)
    _check(query, key, attn_mask, is_causal, enable_gqa, packed)
    factor = max(query.shape[-1], 1) ** -0.5 if scale is None else scale
    plan = AttentionPlan(
        scale=factor,
        is_causal=is_causal,
        key=mask_key if isinstance(mask_key, int) else 0,
        threshold=dropped_below,
        window=window,
        packed=packed,
    )
    inputs = AttentionInputs(query, key, value, attn_mask)
    if all(map(is_plain, (query, key, value))) and isinstance(mask_key, int):
        out: Tensor = _Attention.apply(*inputs, plan)
        return out
    if not torch._C._are_functorch_transforms_active():
        out, _ = torch.ops.redrop.attention(*as_call(inputs, mask_key, plan))
    elif only_gradients():
        out, _ = AttentionUnderGrad.apply(*as_call(inputs, mask_key, plan))
    else:
        out = composite(inputs, plan, mask_key if isinstance(mask_key, Tensor) else None)
    return out


class _Attention(torch.autograd.Function):
    """Attention of plain tensors."""

    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Tensor:
        inputs, ctx.plan = AttentionInputs(*arguments[:-1]), arguments[-1]
        result = select_attention(inputs.query).forward(inputs, ctx.plan)
        ctx.save_for_backward(*inputs, *result)
        return result.out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        *tensors, out, normalizer = ctx.saved_tensors
        inputs, plan = AttentionInputs(*tensors), ctx.plan
        if torch.is_grad_enabled():  # to be differentiated once more: through plain PyTorch
            return *composite_gradients(inputs, grad_out, plan, ctx.needs_input_grad), None
        gradients = select_attention(inputs.query).backward(
            *(grad_out, inputs, AttentionResult(out, normalizer), plan),
            needs_mask_gradient=ctx.needs_input_grad[3],
        )
        return *gradients, None


def _check(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    enable_gqa: bool,
    packed: Packed | None,
) -> None:
    if attn_mask is not None and is_causal:
        raise UsageError(
            "`attn_mask` and `is_causal` exclude each other, as in torch; got both. Put the causal "
            "part into the mask."
        )
    heads = -2 if packed is not None else -3
    if not enable_gqa and query.dim() == key.dim() >= 3 and query.shape[heads] != key.shape[heads]:
        raise UsageError(
            f"Query and key must have the same heads; got {query.shape[heads]} and "
            f"{key.shape[heads]}. Groups of heads that share a key need enable_gqa=True."
        )
