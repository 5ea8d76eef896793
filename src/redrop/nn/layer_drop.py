"""LayerDrop: skip a whole layer for a step."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.threshold import threshold
from redrop.nn.module import SiteModule
from redrop.ops.dropout import dropout


def layer_drop(
    layer: Callable[..., Tensor],
    x: Tensor,
    /,
    *args: Any,
    key: int | Tensor,
    p: float,
    **kwargs: Any,
) -> Tensor:
    """Return `layer(x, *args, **kwargs)`, or with probability p just `x`.

    y = layer(x) if keep else x: one decision for everything, and no rescale.

    Args:
        layer: Maps a tensor to one of the same shape; its shortcut, if any, is inside.
        x: What the layer transforms, and what comes out where it is skipped.
        *args: More arguments of the layer.
        key: Of the mask, from `redrop.mask.mask_key`. A number skips the layer's work too. With a
            tensor, as in a compiled graph, the layer runs and its result is not taken.
        p: Probability that the layer is skipped.
        **kwargs: More arguments of the layer.

    Raises:
        UsageError: p outside [0, 1], or the layer does not keep the shape of `x`.

    >>> layer_drop(torch.nn.Linear(2, 2), torch.ones(2), key=0, p=1.0)
    tensor([1., 1.])
    """
    is_kept = dropout(torch.ones((), device="cpu"), key, p) != 0
    if isinstance(key, Tensor):
        return torch.where(is_kept.to(x.device), _same_shape(layer(x, *args, **kwargs), x), x)
    return _same_shape(layer(x, *args, **kwargs), x) if is_kept else x


def _same_shape(y: Tensor, x: Tensor) -> Tensor:
    if not isinstance(y, Tensor) or y.shape != x.shape:
        came = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise UsageError(
            "A layer that can be skipped must map a tensor to one of the same shape; got "
            f"{came} from {tuple(x.shape)}. Wrap the block together with its shortcut."
        )
    return y


class LayerDrop(SiteModule):
    """Skip the wrapped layer with probability p per step, for all samples at once.

    y = layer(x) if keep else x in training mode, y = layer(x) in eval mode.

    Unlike `DropPath`, nothing is rescaled (the layer holds its own shortcut, so that skipping it is
    the identity) and the samples share the decision. That saves the work of a skipped layer, and
    trains a model that can later be pruned to fewer layers.

    Args:
        layer: A module whose first argument and result have the same shape.
        p: Probability that the layer is skipped. The paper's value is 0.2.

    Shape:
        That of the layer. More arguments are handed to it.

    Randomness:
        One decision per use; it depends on neither samples nor shapes, so all ranks and
        micro-batches of a step skip the same layers. Otherwise as for `Dropout`. Sites inside the
        layer count the uses that ran: of a layer used several times in one step, their pass numbers
        depend on which uses were skipped. A compiled model runs skipped layers and counts all.

    Raises:
        UsageError: p is NaN or outside [0, 1]; the layer does not keep its input's shape.

    References:
        Fan, Grave and Joulin: Reducing Transformer Depth on Demand with Structured Dropout, 2020.
        https://arxiv.org/abs/1909.11556

    >>> layer = LayerDrop(torch.nn.Linear(2, 2), p=0.5)
    >>> x = torch.ones(1, 2)
    >>> sum(layer(x) is x for _ in range(100)) > 20
    True
    """

    def __init__(self, layer: torch.nn.Module, p: float = 0.2) -> None:
        threshold(p)
        super().__init__()
        self.layer = layer
        self.p = p

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Run the layer, or in training mode skip it with probability p."""
        if not self.training or self.p == 0.0:
            result: Tensor = self.layer(x, *args, **kwargs)
            return result
        key = self.next_mask().key
        return layer_drop(self.layer, x, *args, key=key, p=self.p, **kwargs)

    def shared_dims(self, ndim: int) -> tuple[int, ...]:
        """All: the layer is skipped as a whole."""
        return tuple(range(ndim))

    def extra_repr(self) -> str:
        """The rate."""
        return f"p={self.p}"
