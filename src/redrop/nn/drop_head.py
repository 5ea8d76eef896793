"""Dropout of whole attention heads, rescaled by how many were kept."""

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.threshold import ONE, threshold
from redrop.mask.window import Window
from redrop.nn.keyed_dropout import KeyedDropout, check_floating
from redrop.ops.dropout import dropout


def drop_head(
    x: Tensor, key: int | Tensor, p: float, *, window: Window | None = None, inplace: bool = False
) -> Tensor:
    """Zero whole heads with probability p and rescale by the number of heads that were kept.

    y[b, h] = x[b, h] · keep[b, h] · H / Σ_h keep[b, h], and 0 where a sample loses all heads.

    Args:
        x: Output of the heads before they are joined, of shape (batch, heads, time, head size).
        key: Of the mask, from `redrop.mask.mask_key`.
        p: Probability that a head is dropped.
        window: Where `x` stands in the whole; kept heads are counted over the heads of the whole
            model, so that splitting heads over processes changes no value.
        inplace: Write into `x`.

    Raises:
        UsageError: p outside [0, 1], or `x` has not 4 dimensions.

    >>> import torch
    >>> drop_head(torch.ones(1, 4, 1, 2), key=2, p=0.25)[0, :, 0]
    tensor([[0.0000, 0.0000],
            [1.3333, 1.3333],
            [1.3333, 1.3333],
            [1.3333, 1.3333]])
    """
    check_floating(x)
    shared = head_dims(x.dim())
    dropped_below = threshold(p)
    if dropped_below in (0, ONE):
        return dropout(x, key, p, inplace=inplace)
    factor = _heads_per_kept_head(x, key, p, window) * (1.0 - dropped_below / ONE)
    # A narrow x is promoted to float32 by the factor and rounded once, at the end.
    y = dropout(x * factor, key, p, window=window, shared=shared).to(x.dtype)
    return x.copy_(y) if inplace else y


def _heads_per_kept_head(x: Tensor, key: int | Tensor, p: float, window: Window | None) -> Tensor:
    """Return H / Σ keep of shape (batch, 1, 1, 1); 0 where none is kept."""
    heads = x.shape[1] if window is None else window.sizes[1]
    if window is not None:
        window = Window((window.sizes[0], heads, 1, 1), (window.offset[0], 0, 0, 0))
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    ones = torch.ones((x.shape[0], heads, 1, 1), dtype=compute, device=x.device)
    is_kept = dropout(ones, key, p, window=window, shared=(2, 3)) > 0
    kept = is_kept.sum(1, keepdim=True, dtype=compute)
    return torch.where(kept > 0, heads / kept, 0.0)


def head_dims(ndim: int) -> tuple[int, ...]:
    """Return the dimensions that share a decision: time and head size."""
    if ndim != 4:
        raise UsageError(
            f"DropHead needs (batch, heads, time, head size); got a tensor of {ndim} dimensions. "
            "Call it before the heads are joined."
        )
    return (2, 3)


class DropHead(KeyedDropout):
    """Drop whole attention heads, so that no few of them carry the model.

    y[b, h] = x[b, h] · keep[b, h] · H / Σ_h keep[b, h] in training mode, y = x in eval mode.

    The rescale is the paper's: by the heads that this sample really kept, not by the expectation
    1 / (1 - p) as in other dropouts (some implementations do that). The factors of a sample's heads
    therefore always add up to H. The paper leaves open what happens when a sample loses every head,
    which has probability p^H; here its output is zero, because drawing again, or keeping all, would
    make a mask that is no longer a function of its coordinates alone.

    Args:
        p: Probability that a head is dropped. The paper lets it fall, then rise over training;
            set the attribute `p` between steps for that.
        inplace: Write the result into the input.

    Shape:
        (batch, heads, time, head size) in and out.

    Randomness:
        One decision per (sample, head); otherwise as for `Dropout`.

    Raises:
        UsageError: p is NaN or outside [0, 1]; the input has not 4 dimensions.

    References:
        Zhou et al.: Scheduled DropHead: A Regularization Method for Transformer Models, 2020.
        https://arxiv.org/abs/2004.13342

    >>> kept = DropHead(p=0.5)(torch.ones(8, 4, 10, 2)) != 0
    >>> bool((kept == kept[:, :, :1, :1]).all())
    True
    """

    function = staticmethod(drop_head)

    def shared_dims(self, ndim: int) -> tuple[int, ...]:
        """Time and head size."""
        return head_dims(ndim)
