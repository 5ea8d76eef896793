"""The site of LayerDrop where the layer is no module of its own: a block skips its own inside."""

from collections.abc import Callable

from torch import Tensor

from redrop.mask.threshold import threshold
from redrop.nn import SiteModule
from redrop.nn.layer_drop import layer_drop


class Skip(SiteModule):
    """Run a layer, or in training skip it with probability p, for all samples at once.

    It does what `redrop.nn.LayerDrop` does. That one holds the layer, and would put its own name
    into the names of all sites and weights inside.

    Args:
        p: Probability that the layer is skipped.

    Raises:
        UsageError: p is NaN or outside [0, 1].

    References:
        Fan, Grave and Joulin: Reducing Transformer Depth on Demand with Structured Dropout, 2020.
        https://arxiv.org/abs/1909.11556

    >>> import torch
    >>> x = torch.ones(1, 2)
    >>> Skip(p=1.0)(torch.nn.Linear(2, 2), x) is x
    True
    """

    def __init__(self, p: float) -> None:
        threshold(p)
        super().__init__()
        self.p = p

    def forward(self, layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        """Return `layer(x)`, or `x` where the layer is skipped."""
        if not self.training or self.p == 0.0:
            return layer(x)
        return layer_drop(layer, x, key=self.next_mask().key, p=self.p)

    def shared_dims(self, ndim: int) -> tuple[int, ...]:
        """All: the layer is skipped as a whole."""
        return tuple(range(ndim))

    def extra_repr(self) -> str:
        """The rate."""
        return f"p={self.p}"
