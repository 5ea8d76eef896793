"""The tensors of an attention call, stated once: what goes in, what comes out, the gradients.

Legend: B batch, H query heads, Hkv key heads, T query tokens, S key tokens, D and Dv head sizes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class AttentionInputs(NamedTuple):
    """What is attended with and to.

    Shape:
        Packed sequences have one dimension less, all their tokens first: query (tokens, H, D) and
        so on; a mask still is one of (B, H, longest T, longest S).

    Args:
        query: (B, H, T, D).
        key: (B, Hkv, S, D), H a multiple of Hkv.
        value: (B, Hkv, S, Dv).
        attn_mask: Broadcastable to (B, H, T, S); boolean, True = may attend, or of query's dtype
            and added to the scores.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None = None


class AttentionResult(NamedTuple):
    """What a forward returns and its backward needs.

    Args:
        out: (B, H, T, Dv); packed: (tokens, H, Dv).
        normalizer: (B, H, T, 2), packed (tokens, H, 2): each row's largest score and the sum of
            exp(score - largest), in float32, in float64 for float64. A row that sees no key has
            (-infinity, 0).
    """

    out: Tensor
    normalizer: Tensor


class AttentionGradients(NamedTuple):
    """The gradients of `AttentionInputs`; the mask's only where it was asked for."""

    query: Tensor
    key: Tensor
    value: Tensor
    attn_mask: Tensor | None


def empty_normalizer(query: Tensor) -> Tensor:
    """Make room for the normalizer of a call, see `AttentionResult`."""
    dtype = torch.float64 if query.dtype == torch.float64 else torch.float32
    return query.new_empty(*query.shape[:-1], 2, dtype=dtype)
