"""Functions with PyTorch's signatures, and a `key` for those who want to name the mask."""

from torch import Tensor

from redrop.mask.threshold import threshold
from redrop.nn.site import draw
from redrop.ops.dropout import dropout as _dropout


def dropout(
    input: Tensor,  # noqa: A002 - torch's name for it
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    key: int | None = None,
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
    return _dropout(input, draw() if key is None else key, p, inplace=inplace)
