"""Attention of whatever PyTorch's function accepts: any dimensions, autocast, masks of float32.

`redrop.ops.attention` takes (B, H, T, D) in one dtype; what leads there is here.
Shape legend: T query tokens, S key tokens, D head size; the dimensions before them lead.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.attention.bias import CausalBias, CausalVariant

from redrop.errors import UsageError
from redrop.mask.window import Window
from redrop.ops.attention import attention


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    dropout_p: float,
    is_causal: bool,
    scale: float | None,
    enable_gqa: bool,
    *,
    mask_key: int | Tensor,
    window: Window | None = None,
) -> Tensor:
    """Return attention of tensors as PyTorch takes them; all arguments but two are PyTorch's.

    Args:
        query: (…, T, D).
        key: (…, S, D).
        value: (…, S, Dv).
        attn_mask: Boolean, True = may attend, or added to the scores; broadcasts to (…, T, S).
        dropout_p: Probability that a connection is dropped.
        is_causal: Query i sees the keys j <= i.
        scale: Factor of the scores; by default 1 / √D.
        enable_gqa: Dimension -3 of key and value is shared by groups of query heads.
        mask_key: Of the dropout mask.
        window: Where the weights (B, H, T, S) stand in those of the whole job.

    Raises:
        UsageError: Shapes or dtypes that do not fit, or what `redrop.ops.attention` refuses.
    """
    if isinstance(attn_mask, CausalBias):
        attn_mask, is_causal = _unfold(attn_mask, is_causal, query.device)
    query, key, value, attn_mask = _autocast(query, key, value, attn_mask)
    _check_dtypes(query, key, value, attn_mask)
    dtype = query.dtype
    if attn_mask is not None and attn_mask.dtype not in (torch.bool, dtype):
        # Rounding the mask to the query's dtype would cost more than torch does.
        wide = torch.promote_types(dtype, attn_mask.dtype)
        query, key, value, attn_mask = (x.to(wide) for x in (query, key, value, attn_mask))
    batch, heads, key_heads = _leading(query, key, value, enable_gqa)
    _check_sizes(query, key, value, heads, key_heads)
    out = attention(
        _four_dims(query, (*batch, heads)),
        _four_dims(key, (*batch, key_heads)),
        _four_dims(value, (*batch, key_heads)),
        _four_dims_of_mask(attn_mask, (*batch, heads, query.shape[-2], key.shape[-2])),
        *(dropout_p, is_causal, scale, enable_gqa),
        mask_key=mask_key,
        window=window,
    ).to(dtype)
    ndim = max(query.dim(), key.dim(), value.dim())
    return out if ndim == 4 else out.reshape((*batch, *out.shape[-3:])[-ndim:])


def _unfold(bias: CausalBias, is_causal: bool, device: torch.device) -> tuple[Tensor | None, bool]:
    """Return what one of PyTorch's causal biases stands for; as a tensor it holds no values."""
    if is_causal:
        raise UsageError(f"`is_causal` says what {type(bias).__name__} says. Pass one of the two.")
    if bias.variant == CausalVariant.UPPER_LEFT:
        return None, True
    sizes = (bias.seq_len_q, bias.seq_len_kv)
    may_attend = torch.ones(sizes, dtype=torch.bool, device=device)
    return may_attend.tril(sizes[1] - sizes[0]), False


def _autocast(
    query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Cast what autocast casts for torch's function: everything floating but float64."""
    device = query.device.type
    if not torch.is_autocast_enabled(device):
        return query, key, value, attn_mask
    dtype = torch.get_autocast_dtype(device)

    def cast(x: Tensor) -> Tensor:
        return x.to(dtype) if x.is_floating_point() and x.dtype != torch.float64 else x

    return cast(query), cast(key), cast(value), None if attn_mask is None else cast(attn_mask)


def _check_dtypes(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None) -> None:
    if not (query.dtype == key.dtype == value.dtype and query.is_floating_point()):
        raise UsageError(
            "Query, key and value must have one floating dtype; got "
            f"{query.dtype}, {key.dtype} and {value.dtype}. Convert them."
        )
    if attn_mask is not None and attn_mask.dtype not in (torch.bool, torch.float32, query.dtype):
        raise UsageError(
            "`attn_mask` must be boolean, float32 or of query's dtype; got "
            f"{attn_mask.dtype} for a query of {query.dtype}. Convert it."
        )


def _check_sizes(query: Tensor, key: Tensor, value: Tensor, heads: int, key_heads: int) -> None:
    fits = (
        query.shape[-1] == key.shape[-1]
        and key.shape[-2] == value.shape[-2]
        and (heads == key_heads or (key_heads > 0 and heads % key_heads == 0))
    )
    if not fits:
        raise UsageError(
            "Query (…, H, T, D), key (…, G, S, D) and value (…, G, S, Dv) must fit together, H a "
            f"multiple of G; got {tuple(query.shape)}, {tuple(key.shape)} and "
            f"{tuple(value.shape)}. Check the order of the dimensions."
        )


def _leading(
    query: Tensor, key: Tensor, value: Tensor, enable_gqa: bool
) -> tuple[tuple[int, ...], int, int]:
    """Return the batch that the three have together, the query's heads, and the key's.

    Raises:
        UsageError: Too few dimensions, or leading dimensions that do not broadcast.
    """
    tensors = (query, key, value)
    if min(x.dim() for x in tensors) < 2:
        raise UsageError(
            "Query, key and value must have at least 2 dimensions, (tokens, head size); got "
            f"shapes {', '.join(str(tuple(x.shape)) for x in tensors)}. Add what is missing."
        )
    leads = [(1, *x.shape[:-2]) if x.dim() == 2 else tuple(x.shape[:-2]) for x in tensors]
    batch = _broadcast([lead[:-1] for lead in leads], tensors)
    heads = [lead[-1:] for lead in leads]
    if enable_gqa:
        return batch, heads[0][0], _broadcast(heads[1:], tensors)[0]
    together = _broadcast(heads, tensors)[0]
    return batch, together, together


def _broadcast(shapes: Sequence[tuple[int, ...]], tensors: Sequence[Tensor]) -> tuple[int, ...]:
    if all(shape == shapes[0] for shape in shapes):
        return shapes[0]
    try:
        return tuple(torch.broadcast_shapes(*shapes))
    except RuntimeError as error:
        raise UsageError(
            "The leading dimensions of query, key and value must broadcast; got shapes "
            f"{', '.join(str(tuple(x.shape)) for x in tensors)}. Key heads that are shared by "
            "groups of query heads need enable_gqa=True."
        ) from error


def _four_dims(x: Tensor, lead: tuple[int, ...]) -> Tensor:
    """Return (…, tokens, size) as (product of the batch, heads, tokens, size).

    Leading dimensions join in row-major order, which leaves the plane of each weight as it is.
    """
    wanted = (*lead, *x.shape[-2:])
    x = x if tuple(x.shape) == wanted else x.expand(wanted)
    return x if x.dim() == 4 else x.reshape(math.prod(lead[:-1]), *wanted[-3:])


def _four_dims_of_mask(mask: Tensor | None, shape: tuple[int, ...]) -> Tensor | None:
    """Return a mask that broadcasts to `shape` as one that broadcasts to four dimensions."""
    if mask is None:
        return None
    sizes = zip(reversed(mask.shape), reversed(shape), strict=False)
    if mask.dim() > len(shape) or any(size not in (1, full) for size, full in sizes):
        raise UsageError(
            f"`attn_mask` must broadcast to {shape}; got shape {tuple(mask.shape)}. Add dimensions "
            "of size 1 where it is shared."
        )
    if mask.dim() <= 3 or len(shape) == 4:
        return mask
    # Only the batch is written out: heads and tokens stay shared where they are.
    lead = shape[:-3]
    return mask.expand(*lead, *mask.shape[-3:]).reshape(math.prod(lead), *mask.shape[-3:])
