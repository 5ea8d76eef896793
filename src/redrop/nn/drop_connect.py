"""Dropout of single weights instead of activations."""

import torch
import torch.nn.functional as F
from torch import Tensor

from redrop.mask.threshold import threshold
from redrop.mask.window import Window
from redrop.nn.module import SiteModule
from redrop.ops.dropout import dropout


def drop_connect(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    key: int | Tensor,
    p: float,
    *,
    window: Window | None = None,
) -> Tensor:
    """Return x · (weight · keep / (1 - p))ᵀ + bias: a linear map with dropped connections.

    Args:
        x: Of shape (…, in).
        weight: Of shape (out, in).
        bias: Of shape (out,), never dropped; or None.
        key: Of the mask over the weight, from `redrop.mask.mask_key`.
        p: Probability that a weight is dropped.
        window: Where `weight` stands in the whole weight; by default it is the whole.

    Raises:
        UsageError: p outside [0, 1].

    >>> drop_connect(torch.ones(1, 4), torch.ones(2, 4), None, key=0x8B1EF9904FBD598E, p=0.5)
    tensor([[4., 6.]])
    """
    return F.linear(x, dropout(weight, key, p, window=window), bias)


class DropConnect(SiteModule, torch.nn.Linear):
    """A linear layer that drops single connections; a drop-in for `torch.nn.Linear`.

    y = x · (W · keep / (1 - p))ᵀ + b in training mode, y = x · Wᵀ + b in eval mode.

    Two things differ from the paper, as in all common implementations. There is one mask for the
    batch, not one per sample, which would take a weight per sample. And eval mode uses the mean
    weight, where the paper samples the layer's output from a Gaussian with matched moments. Not to
    be confused with `DropPath`, which some code calls drop_connect.

    Args:
        in_features: Size of an input.
        out_features: Size of an output.
        bias: Learn an additive bias; it is not dropped.
        device: Where the parameters live.
        dtype: Of the parameters.
        p: Probability that a weight is dropped.

    Shape:
        (…, in_features) to (…, out_features). The mask has the shape of the weight, (out_features,
        in_features).

    Randomness:
        One decision per weight: row is the output, col the input. All micro-batches of a step have
        the same mask. Otherwise as for `Dropout`.

    Raises:
        UsageError: p is NaN or outside [0, 1].

    References:
        Wan et al.: Regularization of Neural Networks using DropConnect, 2013.
        https://proceedings.mlr.press/v28/wan13.html

    >>> layer = DropConnect(4, 2, p=0.5)
    >>> layer(torch.ones(3, 4)).shape
    torch.Size([3, 2])
    >>> list(layer.state_dict())
    ['weight', 'bias']
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        *,
        p: float = 0.5,
    ) -> None:
        threshold(p)
        super().__init__(in_features, out_features, bias, device, dtype)
        self.p = p

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch.nn.Linear's name for it
        """Drop connections in training mode; be `torch.nn.Linear` in eval mode or for p = 0."""
        if not self.training or self.p == 0.0:
            return super().forward(input)
        return drop_connect(input, self.weight, self.bias, self.next_mask().key, self.p)

    def extra_repr(self) -> str:
        """As of `torch.nn.Linear`, and p."""
        return f"{super().extra_repr()}, p={self.p}"
