"""What the dropout layers have in common: in training, a function of (input, key, p)."""

from typing import ClassVar, Protocol

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.threshold import threshold
from redrop.mask.window import Window
from redrop.nn.module import SiteModule
from redrop.ops.plain import refuse_unusable


class KeyedFunction(Protocol):
    """The mathematics of a dropout layer: the key decides everything that is random."""

    def __call__(
        self,
        x: Tensor,
        /,
        key: int | Tensor,
        p: float,
        *,
        window: Window | None = None,
        inplace: bool = False,
    ) -> Tensor:
        """Return `x` with what the key decides dropped, at rate p."""
        ...


class KeyedDropout(SiteModule, torch.nn.modules.dropout._DropoutNd):
    """Base of the dropout layers; a subclass names its function and the dimensions that share.

    y = function(x, key, p) in training mode; the very same tensor in eval mode or for p = 0.

    Args:
        p: Probability of dropping, not of keeping.
        inplace: Write the result into the input.

    Randomness:
        Decided by one key. Attached to a run (`redrop.attach`), the key follows from (seed, step,
        pass, the module's qualified name) and the mask can be replayed. Otherwise the key is drawn
        from torch's default generator, so that `torch.manual_seed` makes it repeatable.

    Raises:
        UsageError: p is NaN or outside [0, 1], or the input has dimensions the layer has no rule
            for.
    """

    function: ClassVar[KeyedFunction]

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        threshold(p)  # torch's own check lets NaN pass
        super().__init__(p, inplace)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch.nn.Dropout's name for it
        """Drop in training mode; return the very same tensor in eval mode or for p = 0."""
        if not self.training or self.p == 0.0:
            return input
        try:
            return self.drop(input)
        except (AttributeError, RuntimeError):
            refuse_unusable(input)
            raise

    def drop(self, x: Tensor) -> Tensor:
        """Return the function of `x` and the next mask of this site, whatever the mode."""
        mask = self.next_mask()
        window = mask.window(x.shape)
        return self.function(x, mask.key, self.p, window=window, inplace=self.inplace)


def check_floating(x: Tensor) -> None:
    """Refuse what would be rounded to something else before the operator can refuse it.

    Raises:
        UsageError: The dtype of `x` is not a real floating one.
    """
    if not x.is_floating_point():
        raise UsageError(f"Dropout takes floating-point dtypes; got {x.dtype}. Convert the input.")
