"""Dropout of whole tokens: every channel of a position goes together."""

from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.window import Window
from redrop.nn.keyed_dropout import KeyedDropout
from redrop.ops.dropout import dropout


def token_dropout(
    x: Tensor, key: int | Tensor, p: float, *, window: Window | None = None, inplace: bool = False
) -> Tensor:
    """Zero whole tokens with probability p and multiply the others by 1 / (1 - p).

    y[b, t] = x[b, t] · keep[b, t] / (1 - p), one decision per token.

    Args:
        x: Of shape (batch, time, channels).
        key: Of the mask, from `redrop.mask.mask_key`.
        p: Probability that a token is dropped.
        window: Where `x` stands in the whole; by default it is the whole.
        inplace: Write into `x`.

    Raises:
        UsageError: p outside [0, 1], or `x` has not 3 dimensions.

    >>> import torch
    >>> token_dropout(torch.ones(1, 4, 3), key=4, p=0.5)
    tensor([[[2., 2., 2.],
             [0., 0., 0.],
             [0., 0., 0.],
             [2., 2., 2.]]])
    """
    return dropout(x, key, p, window=window, shared=token_dims(x.dim()), inplace=inplace)


def token_dims(ndim: int) -> tuple[int, ...]:
    """Return the dimension that shares a decision: the channels."""
    if ndim != 3:
        raise UsageError(
            f"TokenDropout needs (batch, time, channels); got a tensor of {ndim} dimensions. "
            "Flatten what is one position, as in `image.flatten(1, 2)`."
        )
    return (2,)


class TokenDropout(KeyedDropout):
    """Drop whole tokens: the model has to read around a missing word or patch.

    y[b, t] = x[b, t] · keep[b, t] / (1 - p) in training mode, y = x in eval mode. Positions are
    dropped, not vocabulary types: a word that occurs twice can lose one of its places.

    Args:
        p: Probability that a token is dropped.
        inplace: Write the result into the input.

    Shape:
        (batch, time, channels) in and out.

    Randomness:
        One decision per (sample, token), so neither padding nor the number of channels moves a bit;
        otherwise as for `Dropout`.

    Raises:
        UsageError: p is NaN or outside [0, 1]; the input has not 3 dimensions.

    References:
        Iyyer et al.: Deep Unordered Composition Rivals Syntactic Methods for Text Classification,
        2015 (word dropout, which averages over the kept words where this rescales).
        https://aclanthology.org/P15-1162

    >>> import torch
    >>> kept = TokenDropout(p=0.5)(torch.ones(8, 10, 4)) != 0
    >>> bool((kept == kept[:, :, :1]).all())
    True
    """

    function = staticmethod(token_dropout)

    def shared_dims(self, ndim: int) -> tuple[int, ...]:
        """The channels."""
        return token_dims(ndim)
