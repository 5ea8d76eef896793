"""The masks of `torch.nn.MultiheadAttention`, where True means *masked out*, turned round.

In `scaled_dot_product_attention`, and everywhere in redrop, True means *may attend*.
Shape legend: B batch, H heads, T query tokens, S key tokens.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from redrop.errors import UsageError


def may_attend(
    attn_mask: Tensor | None,
    key_padding_mask: Tensor | None,
    shape: tuple[int, int, int, int],
    dtype: torch.dtype,
    *,
    appended: int = 0,
) -> Tensor | None:
    """Return both masks of the multi-head layer as one mask for the attention function.

    Args:
        attn_mask: (T, S) or (B·H, T, S); boolean, True = masked out, or added to the scores.
        key_padding_mask: (B, S), with the same two meanings.
        shape: (B, H, T, S) before keys were appended.
        dtype: Of an additive mask that boolean ones have to be made into.
        appended: Keys behind the S, which every query sees.

    Returns:
        Boolean, True = may attend, or additive where one of the two is; it broadcasts to
        (B, H, T, S + appended). None if there is none.

    Raises:
        UsageError: A mask of another shape, or neither boolean nor floating.

    >>> hidden = torch.tensor([[False, True]])
    >>> may_attend(hidden, None, (1, 1, 1, 2), torch.float32)
    tensor([[ True, False]])
    """
    B, H, T, S = shape
    masks = []
    if attn_mask is not None:
        _check(attn_mask, "attn_mask", ((T, S), (B * H, T, S)))
        masks.append(attn_mask.view(B, H, T, S) if attn_mask.dim() == 3 else attn_mask)
    if key_padding_mask is not None:
        _check(key_padding_mask, "key_padding_mask", ((B, S),))
        masks.append(key_padding_mask.view(B, 1, 1, S))
    if not masks:
        return None
    if any(mask.is_floating_point() for mask in masks):
        masks = [_as_additive(mask, dtype) for mask in masks]
        merged = sum(masks[1:], masks[0])
        return pad(merged, (0, appended)) if appended else merged
    masks = [~mask for mask in masks]
    merged = masks[0] if len(masks) == 1 else masks[0] & masks[1]
    return pad(merged, (0, appended), value=True) if appended else merged


def _as_additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    if mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)


def _check(mask: Tensor, name: str, shapes: tuple[tuple[int, ...], ...]) -> None:
    if mask.dtype != torch.bool and not mask.is_floating_point():
        raise UsageError(
            f"`{name}` must be boolean (True = masked out) or floating (added); got {mask.dtype}. "
            "Convert it."
        )
    if tuple(mask.shape) not in shapes:
        allowed = " or ".join(str(tuple(int(size) for size in shape)) for shape in shapes)
        raise UsageError(
            f"`{name}` must have shape {allowed}; got {tuple(mask.shape)}. Neither is it broadcast "
            "nor does it count keys that add_bias_kv or add_zero_attn append."
        )
