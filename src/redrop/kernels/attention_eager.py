"""Attention with dropped weights in plain PyTorch: any device, any floating dtype, T x S in memory.

The same masks bit for bit as the native kernels, and the same answers to the edge cases. Half
precision computes in float32.
Legend: B batch, H heads, T query tokens, S key tokens, D head size.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from redrop.kernels.attention_plan import AttentionPlan
from redrop.kernels.attention_tensors import (
    AttentionGradients,
    AttentionInputs,
    AttentionResult,
    empty_normalizer,
)
from redrop.kernels.eager import keep_mask
from redrop.mask.threshold import ONE, scale
from redrop.mask.window import Window, check_window, whole


def forward(inputs: AttentionInputs, plan: AttentionPlan) -> AttentionResult:
    """Attend; see `redrop.kernels.attention.forward`."""
    if plan.packed is not None:
        return _forward_packed(inputs, plan)
    query, key, value, attn_mask = inputs
    scores = _scores(query, key, attn_mask, plan)
    normalizer = _normalizer(scores)
    dropped = _drop(_weights(scores, normalizer), plan)
    out = dropped @ _for_heads(value, query).to(dropped.dtype)
    return AttentionResult(out.to(query.dtype), normalizer)


def backward(
    grad_out: Tensor,
    inputs: AttentionInputs,
    result: AttentionResult,
    plan: AttentionPlan,
    *,
    needs_mask_gradient: bool = False,
) -> AttentionGradients:
    """Return the gradients; see `redrop.kernels.attention.backward`."""
    needs_mask_gradient = needs_mask_gradient and inputs.attn_mask is not None
    if plan.packed is not None:
        return _backward_packed(grad_out, inputs, result, plan, needs_mask_gradient)
    query, key, value, attn_mask = inputs
    weights = _weights(_scores(query, key, attn_mask, plan), result.normalizer)
    dtype = weights.dtype
    grad = grad_out.to(dtype)
    grad_value = _drop(weights, plan).mT @ grad
    grad_weights = _drop(grad @ _for_heads(value, query).to(dtype).mT, plan)
    # 0 * infinity: what a row cannot see has no gradient, whatever stands there.
    delta = (grad * result.out.to(dtype)).sum(-1, keepdim=True)
    grad_scores = torch.where(weights == 0, 0.0, weights * (grad_weights - delta))
    grad_query = plan.scale * (grad_scores @ _for_heads(key, query).to(dtype))
    grad_key = plan.scale * (grad_scores.mT @ query.to(dtype))
    grad_mask = None
    if needs_mask_gradient and attn_mask is not None:
        grad_mask = grad_scores.sum_to_size(attn_mask.shape).to(attn_mask.dtype)
    return AttentionGradients(
        grad_query.to(query.dtype),
        _sum_group(grad_key, key).to(key.dtype),
        _sum_group(grad_value, value).to(value.dtype),
        grad_mask,
    )


def weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    normalizer: Tensor,
    plan: AttentionPlan,
    heads: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Return the weights of some heads before and after dropout, to look at.

    Args:
        query: As in the call, not packed; `key` and `attn_mask` too.
        key: As in the call.
        attn_mask: As in the call.
        normalizer: From `forward` of the same call.
        plan: Of the same call.
        heads: Which heads of `query`, in any order.

    Shape:
        Both results (B, len(heads), T, S), in float32 (float64 for float64 inputs).
    """
    B, H, T, _ = query.shape
    group = H // key.shape[1]
    window = whole((B, H, T, key.shape[2])) if plan.window is None else plan.window
    pairs = []
    for head in heads:
        offset = (window.offset[0], window.offset[1] + head, *window.offset[2:])
        here = replace(plan, window=Window(window.sizes, offset))
        kv = slice(head // group, head // group + 1)
        mask = None if attn_mask is None else attn_mask.expand(B, H, T, key.shape[2])
        mask = None if mask is None else mask[:, head : head + 1]
        scores = _scores(query[:, head : head + 1], key[:, kv], mask, here)
        before = _weights(scores, normalizer[:, head : head + 1])
        pairs.append((before, _drop(before, here)))
    empty = query.new_empty(B, 0, T, key.shape[2], dtype=_compute_dtype(query))
    before = torch.cat([empty, *(pair[0] for pair in pairs)], dim=1)
    return before, torch.cat([empty, *(pair[1] for pair in pairs)], dim=1)


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _for_heads(x: Tensor, query: Tensor) -> Tensor:
    """Repeat grouped key heads so that each query head has one."""
    group = query.shape[1] // max(x.shape[1], 1)
    return x if group == 1 else x.repeat_interleave(group, dim=1)


def _sum_group(grad: Tensor, like: Tensor) -> Tensor:
    if grad.shape[1] == like.shape[1]:
        return grad
    summed: Tensor = grad.unflatten(1, (like.shape[1], -1)).sum(2)
    return summed


def _scores(query: Tensor, key: Tensor, attn_mask: Tensor | None, plan: AttentionPlan) -> Tensor:
    dtype = _compute_dtype(query)
    scores = plan.scale * (query.to(dtype) @ _for_heads(key, query).to(dtype).mT)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask.to(dtype)
    if plan.is_causal:
        past = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~past, -torch.inf)
    return scores


def _normalizer(scores: Tensor) -> Tensor:
    """Return each row's largest score and sum(exp(score - largest)); -infinity and 0 if blind."""
    if scores.shape[-1] == 0:
        top = scores.new_full(scores.shape[:-1], -torch.inf)
    else:
        top = scores.amax(-1)
    base = torch.where(torch.isneginf(top), 0.0, top)
    return torch.stack([top, (scores - base.unsqueeze(-1)).exp().sum(-1)], dim=-1)


def _weights(scores: Tensor, normalizer: Tensor) -> Tensor:
    """Return exp(score - largest) / sum; zeros where a row sees nothing."""
    top, total = normalizer.unsqueeze(-2).unbind(-1)
    seen: Tensor = (scores - top).exp() / total
    return torch.where(total == 0, 0.0, seen)


def _drop(x: Tensor, plan: AttentionPlan) -> Tensor:
    window = whole(tuple(x.shape)) if plan.window is None else plan.window
    check_window(window, x.shape)
    if plan.threshold == 0:
        return x
    if plan.threshold == ONE:
        return torch.zeros_like(x)
    keep = keep_mask(plan.key, plan.threshold, tuple(x.shape), window, device=x.device)
    return torch.where(keep, x * scale(plan.threshold), 0.0)


def _sequences(plan: AttentionPlan, heads: int) -> list[tuple[slice, slice, AttentionPlan]]:
    """Return the query tokens, the key tokens and the plan of each packed sequence."""
    packed = plan.packed
    assert packed is not None
    packed.check()
    queries, keys = packed.queries.tolist(), packed.keys.tolist()
    shape = (len(queries) - 1, heads, packed.max_queries, packed.max_keys)
    window = whole(shape) if plan.window is None else plan.window
    check_window(window, shape)
    parts = []
    for b in range(shape[0]):
        place = Window(window.sizes, (window.offset[0] + b, *window.offset[1:]))
        parts.append(
            (
                slice(queries[b], queries[b + 1]),
                slice(keys[b], keys[b + 1]),
                replace(plan, packed=None, window=place),
            )
        )
    return parts


def _batch(x: Tensor, tokens: slice) -> Tensor:
    """(tokens, H, D) of all sequences -> (1, H, T, D) of one."""
    return x[tokens].transpose(0, 1).unsqueeze(0)


def _mask_of(attn_mask: Tensor | None, b: int, q: slice, k: slice) -> Tensor | None:
    """Cut one sequence's part out of a mask of (B, H, longest query, longest key)."""
    if attn_mask is None:
        return None
    mask = attn_mask.reshape((1,) * (4 - attn_mask.ndim) + tuple(attn_mask.shape))
    for dim, first, count in ((0, b, 1), (2, 0, q.stop - q.start), (3, 0, k.stop - k.start)):
        if mask.shape[dim] > 1:
            mask = mask.narrow(dim, first, count)
    return mask


def _forward_packed(inputs: AttentionInputs, plan: AttentionPlan) -> AttentionResult:
    query, key, value, attn_mask = inputs
    tokens, heads, _ = query.shape
    out = query.new_zeros(tokens, heads, value.shape[-1])
    normalizer = empty_normalizer(query)
    for b, (q, k, part) in enumerate(_sequences(plan, heads)):
        mask = _mask_of(attn_mask, b, q, k)
        one = AttentionInputs(_batch(query, q), _batch(key, k), _batch(value, k), mask)
        result = forward(one, part)
        out[q] = result.out[0].transpose(0, 1)
        normalizer[q] = result.normalizer[0].transpose(0, 1)
    return AttentionResult(out, normalizer)


def _backward_packed(
    grad_out: Tensor,
    inputs: AttentionInputs,
    result: AttentionResult,
    plan: AttentionPlan,
    needs_mask_gradient: bool,
) -> AttentionGradients:
    query, key, value, attn_mask = inputs
    grads = (torch.zeros_like(query), torch.zeros_like(key), torch.zeros_like(value))
    wanted = attn_mask if needs_mask_gradient else None
    grad_mask = None if wanted is None else torch.zeros_like(wanted)
    for b, (q, k, part) in enumerate(_sequences(plan, query.shape[1])):
        mask = _mask_of(attn_mask, b, q, k)
        parts = backward(
            _batch(grad_out, q),
            AttentionInputs(_batch(query, q), _batch(key, k), _batch(value, k), mask),
            AttentionResult(_batch(result.out, q), _batch(result.normalizer, q)),
            part,
            needs_mask_gradient=needs_mask_gradient,
        )
        for grad, tokens, part_grad in zip(grads, (q, k, k), parts[:3], strict=True):
            grad[tokens] = part_grad[0].transpose(0, 1)
        into = _mask_of(grad_mask, b, q, k)
        if into is not None and parts.attn_mask is not None:
            into += parts.attn_mask
    return AttentionGradients(*grads, grad_mask)
