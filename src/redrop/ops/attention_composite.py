"""Attention out of single differentiable operations, T x S in memory.

It serves where the fused kernels cannot: second derivatives, what torch.func has beside gradients
(vmap, jvp, jacobians), and weights that somebody goes on computing with.
"""

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.kernels.attention_plan import AttentionPlan
from redrop.kernels.attention_tensors import AttentionInputs
from redrop.mask.threshold import ONE
from redrop.ops.dropout import dropout


def composite(
    inputs: AttentionInputs, plan: AttentionPlan, mask_key: Tensor | None = None
) -> Tensor:
    """Return what the kernels return, by operations that can be differentiated again.

    Args:
        inputs: As the kernels take them.
        plan: Of the call.
        mask_key: In place of the plan's key where it is a tensor.

    Raises:
        UsageError: Sequences are packed.
    """
    query, key, value, attn_mask = inputs
    _, dropped = composite_weights(query, key, attn_mask, plan, mask_key)
    return dropped @ _for_heads(value, query)


def composite_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    plan: AttentionPlan,
    mask_key: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the weights (B, H, T, S) before and after dropout; for the rest see `composite`.

    Raises:
        UsageError: Sequences are packed.
    """
    if plan.packed is not None:
        raise UsageError("Packed attention has first derivatives only. Pad the sequences.")
    scores = plan.scale * (query @ _for_heads(key, query).mT)
    if attn_mask is not None and attn_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attn_mask, -torch.inf)
    elif attn_mask is not None:
        scores = scores + attn_mask
    if plan.is_causal:
        past = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~past, -torch.inf)
    sees_nothing = scores.isneginf().all(-1, keepdim=True)
    # Softmax over a row of -inf is NaN, and so would be every gradient behind it.
    weights = scores.masked_fill(sees_nothing, 0.0).softmax(-1).masked_fill(sees_nothing, 0.0)
    name = plan.key if mask_key is None else mask_key
    return weights, dropout(weights, name, plan.threshold / ONE, window=plan.window)


def composite_gradients(
    inputs: AttentionInputs,
    grad_out: Tensor,
    plan: AttentionPlan,
    needs: tuple[bool, ...],
) -> list[Tensor | None]:
    """Return the gradients of those inputs that need one, as a graph for the next derivative.

    Args:
        inputs: Of the call.
        grad_out: Of the output.
        plan: Of the call.
        needs: Which inputs need a gradient; only the first four are looked at.
    """
    wanted = [x for x, is_needed in zip(inputs, needs, strict=False) if is_needed and x is not None]
    gradients = iter(
        torch.autograd.grad(composite(inputs, plan), wanted, grad_out, create_graph=True)
    )
    return [next(gradients) if is_needed else None for is_needed in needs[: len(inputs)]]


def _for_heads(x: Tensor, query: Tensor) -> Tensor:
    """Repeat grouped key heads so that each query head has one."""
    group = query.shape[1] // max(x.shape[1], 1)
    return x if group == 1 else x.repeat_interleave(group, dim=1)
