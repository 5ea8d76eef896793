"""Functions with PyTorch's signatures, and a `key` for those who want to name the mask."""

import torch
from torch import Tensor

from redrop.mask.threshold import threshold
from redrop.nn.attend import attend
from redrop.nn.site import draw, is_traced
from redrop.ops.dropout import dropout as _dropout


def dropout(
    input: Tensor,  # noqa: A002 - torch's name for it
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: int | Tensor | None = None,
) -> Tensor:
    """Drop elements as `torch.nn.functional.dropout` does.

    Args:
        input: Any shape, a floating dtype.
        p: Probability that an element is dropped.
        training: False returns the very same tensor.
        inplace: Write the result into the input.
        key: Of the mask, from `redrop.mask.mask_key`; by default drawn from torch's generator.

    Returns:
        input · keep / (1 - p).

    Raises:
        UsageError: p outside [0, 1].

    >>> import torch
    >>> dropout(torch.ones(4), p=0.5, key=0x8B1EF9904FBD598E)
    tensor([0., 2., 2., 0.])
    """
    threshold(p)  # a wrong p is an error in eval mode too, as in torch
    if not training or p == 0.0:
        return input
    return _dropout(input, _drawn() if key is None else key, p, inplace=inplace)


def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    mask_key: int | Tensor | None = None,
) -> Tensor:
    """Attend as `torch.nn.functional.scaled_dot_product_attention` does, dropout at no extra cost.

    out = (keep · softmax(scale · Q Kᵀ + attn_mask) / (1 - p)) V; what a query that sees no key
    gives is zero.

    Args:
        query: (N, …, H, L, E); the dimensions before L may be missing.
        key: (N, …, H, S, E).
        value: (N, …, H, S, Ev).
        attn_mask: Boolean, True = may attend, or float32 or query's dtype, added to the scores;
            broadcasts to (N, …, H, L, S).
        dropout_p: Probability that a connection is dropped. It acts whatever the mode, as in torch:
            pass 0 in eval mode.
        is_causal: Query i sees the keys j <= i, also where L and S differ. Not with `attn_mask`.
        scale: Factor of the scores; by default 1 / √E.
        enable_gqa: Let key and value have fewer heads (dimension -3), shared by groups of query
            heads. Otherwise all dimensions before the last two broadcast.
        mask_key: Of the dropout mask, from `redrop.mask.mask_key`; by default drawn from torch's
            generator. Elsewhere in redrop the argument is called `key`, which here is a tensor.

    Shape:
        Output (N, …, H, L, Ev).

    Randomness:
        The mask is that of the weights (N, …, H, L, S): query is the row, key the column, and the
        row-major index over (N, …, H) the plane, so that dimensions of size 1 in front change
        nothing: `redrop.mask.keep_mask(mask_key, p, (N, …, H, L, S))`.

    Raises:
        UsageError: Shapes or dtypes that do not fit, p outside [0, 1], both `attn_mask` and
            `is_causal`.

    References:
        Vaswani et al.: Attention Is All You Need, 2017. https://arxiv.org/abs/1706.03762

    >>> q = torch.ones(2, 3, 4, 8)
    >>> scaled_dot_product_attention(q, q, q, dropout_p=0.1).shape
    torch.Size([2, 3, 4, 8])
    """
    is_dropping = threshold(dropout_p) > 0
    if mask_key is None:
        mask_key = _drawn() if is_dropping else 0
    return attend(
        *(query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa), mask_key=mask_key
    )


def _drawn() -> int | Tensor:
    if is_traced():
        return torch.randint(2**63 - 1, (), dtype=torch.int64, device="cpu")
    return draw()
