"""Attention weights before and after dropout: some heads to look at, or all to compute with."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.kernels import attention_eager
from redrop.kernels.attention_dispatch import select_attention
from redrop.kernels.attention_plan import AttentionPlan
from redrop.kernels.attention_tensors import AttentionInputs
from redrop.mask.threshold import threshold
from redrop.mask.window import Window
from redrop.ops.attention_composite import composite_weights


@torch.no_grad()
def attention_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    dropout_p: float = 0.0,
    mask_key: int = 0,
    heads: Sequence[int] | None = None,
    *,
    window: Window | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the weights of some heads as `attention` with these arguments has them, to look at.

    before = softmax(scale · Q Kᵀ + attn_mask), after = keep · before / (1 - p), with the very bits
    of the fused call. Only the chosen heads are ever in memory; no gradient flows.

    Args:
        query: (B, H, T, D).
        key: (B, H, S, D), or with fewer heads that groups of query heads share.
        attn_mask: Boolean, True = may attend, or added to the scores; broadcasts to (B, H, T, S).
        is_causal: Query i sees the keys j <= i.
        scale: Factor of the scores; by default 1 / √D.
        dropout_p: Probability that a connection is dropped.
        mask_key: Of the dropout mask, from `redrop.mask.mask_key`.
        heads: Which heads of `query`, in any order; by default all.
        window: Where the weights (B, H, T, S) of all heads stand in those of the whole job.

    Returns:
        Both (B, len(heads), T, S), in float32 (float64 for float64 inputs). A row of `before` sums
        to 1, or is zero where its query sees nothing; a row of `after` sums to 1 on average only.

    Raises:
        UsageError: A head that does not exist, p outside [0, 1].

    >>> q = torch.ones(1, 2, 2, 8)
    >>> before, after = attention_weights(q, q, is_causal=True, heads=[1])
    >>> before[0, 0]
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000]])
    """
    chosen = range(query.shape[1]) if heads is None else heads
    if any(not 0 <= head < query.shape[1] for head in chosen):
        raise UsageError(
            f"`heads` must name heads of the query, 0 to {query.shape[1] - 1}; got {list(chosen)}. "
            "Count from 0."
        )
    plan = _plan(query, is_causal, scale, dropout_p, mask_key, window)
    # Wanted is only what normalizes each row: the narrowest value will do.
    _, normalizer = select_attention(query).forward(
        AttentionInputs(query, key, key[..., :1], attn_mask), replace(plan, threshold=0)
    )
    return attention_eager.weights(query, key, attn_mask, normalizer, plan, chosen)


def attention_with_weights(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    *,
    mask_key: int | Tensor = 0,
    window: Window | None = None,
) -> tuple[Tensor, Tensor]:
    """Attend as `attention` does, and return the dropped weights too, with their gradient.

    Costs what unfused attention costs: T x S numbers per head, several times.

    Args:
        query: As for `attention`, and so are all other arguments.
        key: (B, H, S, D).
        value: (B, H, S, Dv).
        attn_mask: Boolean, True = may attend, or added to the scores.
        dropout_p: Probability that a connection is dropped.
        is_causal: Query i sees the keys j <= i.
        scale: Factor of the scores; by default 1 / √D.
        mask_key: Of the dropout mask; a 0-d tensor where it is traced.
        window: Where the weights stand in those of the whole job.

    Returns:
        (B, H, T, Dv), and the weights after dropout, (B, H, T, S).

    Raises:
        UsageError: p outside [0, 1].

    >>> q = torch.ones(1, 2, 3, 8)
    >>> out, weights = attention_with_weights(q, q, q)
    >>> torch.equal(out, weights @ q)
    True
    """
    number, named = (0, mask_key) if isinstance(mask_key, Tensor) else (mask_key, None)
    plan = _plan(query, is_causal, scale, dropout_p, number, window)
    _, dropped = composite_weights(query, key, attn_mask, plan, named)
    return dropped.to(value.dtype) @ value, dropped


def _plan(
    query: Tensor,
    is_causal: bool,
    scale: float | None,
    dropout_p: float,
    mask_key: int,
    window: Window | None,
) -> AttentionPlan:
    return AttentionPlan(
        scale=max(query.shape[-1], 1) ** -0.5 if scale is None else scale,
        is_causal=is_causal,
        key=mask_key,
        threshold=threshold(dropout_p),
        window=window,
    )
