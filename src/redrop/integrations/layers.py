"""torch's dropout layers become redrop's in place: the object stays, its class changes.

Every layer of `redrop.nn` that stands for one of torch's is a subclass of it with the same
attributes. So nobody who holds the layer notices: parameters are the same tensors, an optimizer
made before stays valid, hooks, names and modes stay.
"""

from typing import Any, Final

import torch
from torch import Tensor

import redrop.nn
from redrop.integrations.scope import paused


class MultiheadAttention(redrop.nn.MultiheadAttention):
    """`redrop.nn.MultiheadAttention` that at p = 0 is torch's own layer, to the bit."""

    def forward(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """Attend; see `torch.nn.MultiheadAttention`."""
        if self.training and self.p > 0.0:
            return super().forward(*args, **kwargs)
        with paused():  # torch's fast path wants no function mode around it
            result: tuple[Tensor, Tensor | None] = torch.nn.MultiheadAttention.forward(
                self, *args, **kwargs
            )
        return result


LAYERS: Final[dict[type[torch.nn.Module], type[redrop.nn.SiteModule]]] = {
    torch.nn.Dropout: redrop.nn.Dropout,
    torch.nn.Dropout1d: redrop.nn.Dropout1d,
    torch.nn.Dropout2d: redrop.nn.Dropout2d,
    torch.nn.Dropout3d: redrop.nn.Dropout3d,
    torch.nn.AlphaDropout: redrop.nn.AlphaDropout,
    torch.nn.FeatureAlphaDropout: redrop.nn.FeatureAlphaDropout,
    torch.nn.MultiheadAttention: MultiheadAttention,
}
"""What becomes of a layer of exactly this class; a subclass may have a forward of its own."""

_IGNORE_INPLACE = (torch.nn.AlphaDropout, torch.nn.FeatureAlphaDropout)
"""torch takes `inplace` here and ignores it; models rely on that without knowing."""


class ConvertedLayer:
    """One layer whose class was changed, and what it takes to change it back."""

    def __init__(self, layer: torch.nn.Module) -> None:
        self.layer = layer
        self.original = type(layer)
        names = ("p", "inplace", "dropout")
        self._attributes = {n: layer.__dict__[n] for n in names if n in layer.__dict__}
        layer.__class__ = LAYERS[self.original]
        if self.original in _IGNORE_INPLACE:
            layer.__dict__["inplace"] = False

    def restore(self) -> None:
        """Make the layer what it was."""
        self.layer.__class__ = self.original
        self.layer.__dict__.pop("site", None)
        self.layer.__dict__.update(self._attributes)


def is_convertible(module: torch.nn.Module) -> bool:
    """Say whether a layer of `redrop.nn` stands for this one.

    >>> is_convertible(torch.nn.Dropout()), is_convertible(torch.nn.Linear(1, 1))
    (True, False)
    """
    return type(module) in LAYERS
