"""Dropout for self-normalizing networks: what it drops becomes SELU's saturation, not zero."""

import math
from typing import Final

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.threshold import ONE, threshold
from redrop.mask.window import Window
from redrop.nn.keyed_dropout import KeyedDropout, check_floating
from redrop.ops.dropout import dropout

SATURATION: Final = 1.0507009873554805 * 1.6732632423543772
"""λ · α of SELU (Klambauer et al., 2017): SELU(-∞) = -SATURATION."""


def alpha_dropout(
    x: Tensor, key: int | Tensor, p: float, *, window: Window | None = None, inplace: bool = False
) -> Tensor:
    """Set each element to SELU's saturation with probability p, then restore mean and variance.

    y = a · (x · keep - α' · (1 - keep)) + b with α' = SATURATION, a = ((1 - p)(1 + p α'²))^-1/2 and
    b = a p α'. For x of mean 0 and variance 1, so is y.

    Computed as y = a (1 - p) · (dropout(x + α') - α'), which is the same, so that backward is plain
    dropout and needs no mask.

    Args:
        x: Any shape, a floating dtype.
        key: Of the mask, from `redrop.mask.mask_key`.
        p: Probability that an element is dropped. 1 gives zeros, as in torch.
        window: Where `x` stands in the whole; by default it is the whole.
        inplace: Write into `x`.

    Raises:
        UsageError: p outside [0, 1].

    References:
        Klambauer et al.: Self-Normalizing Neural Networks, 2017, section "New dropout technique".
        https://arxiv.org/abs/1706.02515

    >>> alpha_dropout(torch.zeros(4), key=0x8B1EF9904FBD598E, p=0.5)
    tensor([-0.7792,  0.7792,  0.7792, -0.7792])
    """
    return _alpha_dropout(x, key, p, window, (), inplace)


def feature_alpha_dropout(
    x: Tensor, key: int | Tensor, p: float, *, window: Window | None = None, inplace: bool = False
) -> Tensor:
    """Apply `alpha_dropout` to whole channels of (N, C, …): one decision per channel of a sample.

    Arguments and formula are those of `alpha_dropout`.

    Raises:
        UsageError: p outside [0, 1], or `x` has fewer than 2 dimensions.
    """
    return _alpha_dropout(x, key, p, window, channel_dims(x.dim()), inplace)


def channel_dims(ndim: int) -> tuple[int, ...]:
    """Return the dimensions that share a decision: all after samples and channels."""
    if ndim < 2:
        raise UsageError(
            f"FeatureAlphaDropout needs (N, C, …); got a tensor of {ndim} dimensions. "
            "Use AlphaDropout for single elements."
        )
    return tuple(range(2, ndim))


def _alpha_dropout(
    x: Tensor,
    key: int | Tensor,
    p: float,
    window: Window | None,
    shared: tuple[int, ...],
    inplace: bool,
) -> Tensor:
    check_floating(x)
    dropped_below = threshold(p)
    if dropped_below in (0, ONE):
        return dropout(x, key, p, inplace=inplace)
    rate = dropped_below / ONE  # what the threshold realises, so that mean and variance are exact
    gain = math.sqrt((1.0 - rate) / (1.0 + rate * SATURATION**2))  # a (1 - p)
    # In float64: with the shift by α' float32 would have over twice the error of torch's formula.
    wide = x.to(torch.float64, copy=True).add_(SATURATION)
    wide = dropout(wide, key, p, window=window, shared=shared, inplace=isinstance(key, int))
    y = wide.sub_(SATURATION).mul_(gain).to(x.dtype)
    return x.copy_(y) if inplace else y


class AlphaDropout(KeyedDropout, torch.nn.AlphaDropout):
    """Dropout that keeps mean 0 and variance 1 after SELU; a drop-in for `torch.nn.AlphaDropout`.

    y = a · (x · keep - α' · (1 - keep)) + b in training mode, y = x in eval mode; see
    `alpha_dropout` for a and b.

    Args:
        p: Probability that an element is dropped.
        inplace: Write the result into the input. (torch takes the argument and ignores it.)

    Shape:
        Any; the output has the shape of the input.

    Randomness:
        As for `Dropout`: with the same key it drops the same elements.

    Raises:
        UsageError: p is NaN or outside [0, 1].

    References:
        Klambauer et al.: Self-Normalizing Neural Networks, 2017. https://arxiv.org/abs/1706.02515

    >>> _ = torch.manual_seed(0)
    >>> y = AlphaDropout(p=0.5)(torch.randn(100_000))
    >>> abs(float(y.mean())) < 0.02, abs(float(y.std()) - 1) < 0.02
    (True, True)
    """

    function = staticmethod(alpha_dropout)


class FeatureAlphaDropout(KeyedDropout, torch.nn.FeatureAlphaDropout):
    """`AlphaDropout` of whole channels; a drop-in for `torch.nn.FeatureAlphaDropout`.

    Args:
        p: Probability that a channel is dropped.
        inplace: Write the result into the input. (torch takes the argument and ignores it.)

    Shape:
        (N, C, …) in and out. Like torch's, it takes the first two dimensions for samples and
        channels, whatever the number of dimensions.

    Randomness:
        One decision per (sample, channel); otherwise as for `Dropout`.

    Raises:
        UsageError: p is NaN or outside [0, 1]; the input has fewer than 2 dimensions.

    >>> y = FeatureAlphaDropout(p=0.5)(torch.zeros(8, 10, 4))
    >>> bool((y == y[:, :, :1]).all())
    True
    """

    function = staticmethod(feature_alpha_dropout)

    def shared_dims(self, ndim: int) -> tuple[int, ...]:
        """All but samples and channels."""
        return channel_dims(ndim)
