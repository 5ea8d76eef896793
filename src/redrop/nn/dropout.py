"""Dropout on activations: the drop-in for `torch.nn.Dropout`."""

import torch
from torch import Tensor

from redrop.mask.threshold import threshold
from redrop.nn.module import SiteModule
from redrop.ops.dropout import dropout
from redrop.ops.plain import refuse_unusable


class Dropout(SiteModule, torch.nn.Dropout):
    """Zero each activation with probability p in training; do nothing in eval mode.

    y = x · keep / (1 - p) in training mode, y = x (the very same tensor) in eval mode or for p = 0.

    Args:
        p: Probability that an element is *dropped*. Not the keep probability of Srivastava's paper.
        inplace: Write the result into the input.

    Shape:
        Any; the output has the shape of the input.

    Randomness:
        Decided by one key. Attached to a run (`redrop.attach`), the key follows from (seed, step,
        pass, the module's qualified name) and the mask can be replayed. Otherwise the key is drawn
        from torch's default generator, so that `torch.manual_seed` makes it repeatable; a compiled
        graph draws it in another way, so compiled and eager runs agree only where they are
        attached. Under `torch.vmap`, "same" is one use of the layer; "different" is a use for each
        sample, in their order, as a loop over the samples would make them.

    Limits:
        TorchScript cannot run it (`torch.jit.script` is refused), nor can torch.compile where a
        transform of torch.func is inside the compiled function.

    Raises:
        UsageError: p is NaN or outside [0, 1], or the input is no dense tensor.

    References:
        Srivastava et al.: Dropout. JMLR 15, 2014. https://jmlr.org/papers/v15/srivastava14a.html

    >>> drop = Dropout(p=0.5)
    >>> _ = torch.manual_seed(0)
    >>> sorted(set(drop(torch.ones(100)).tolist()))
    [0.0, 2.0]
    >>> x = torch.ones(10)
    >>> drop.eval()(x) is x
    True
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        threshold(p)  # torch's own check lets NaN pass
        super().__init__(p, inplace)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch.nn.Dropout's name for it
        if not self.training or self.p == 0.0:
            return input
        mask = self.next_mask()
        try:
            window = mask.window(input.shape)
        except (AttributeError, RuntimeError):
            refuse_unusable(input)
            raise
        return dropout(input, mask.key, self.p, window=window, inplace=self.inplace)
