"""Variational dropout: one mask for all time steps of a sequence."""

from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.window import Window
from redrop.nn.keyed_dropout import KeyedDropout
from redrop.ops.dropout import dropout


def locked_dropout(
    x: Tensor, key: int | Tensor, p: float, *, window: Window | None = None, inplace: bool = False
) -> Tensor:
    """Drop the same channels of a sequence at every time step.

    y[b, t, c] = x[b, t, c] · keep[b, c] / (1 - p).

    Args:
        x: Of shape (batch, time, channels).
        key: Of the mask, from `redrop.mask.mask_key`.
        p: Probability that a channel of a sequence is dropped.
        window: Where `x` stands in the whole; by default it is the whole.
        inplace: Write into `x`.

    Raises:
        UsageError: p outside [0, 1], or `x` has not 3 dimensions.

    >>> import torch
    >>> locked_dropout(torch.ones(1, 3, 4), key=4, p=0.5)
    tensor([[[2., 0., 0., 2.],
             [2., 0., 0., 2.],
             [2., 0., 0., 2.]]])
    """
    return dropout(x, key, p, window=window, shared=time_dims(x.dim()), inplace=inplace)


def time_dims(ndim: int) -> tuple[int, ...]:
    """Return the dimension that shares a decision: time."""
    if ndim != 3:
        raise UsageError(
            f"LockedDropout needs (batch, time, channels); got a tensor of {ndim} dimensions. "
            "Add the missing one, as in `x.unsqueeze(0)`."
        )
    return (1,)


class LockedDropout(KeyedDropout):
    """Variational dropout: the mask of a sequence is locked over its time steps.

    y[b, t, c] = x[b, t, c] · keep[b, c] / (1 - p) in training mode, y = x in eval mode. Masks that
    change at every step erase a recurrent state bit by bit; a locked one leaves channels whole.

    Args:
        p: Probability that a channel of a sequence is dropped.
        inplace: Write the result into the input.

    Shape:
        (batch, time, channels) in and out. For time first, as recurrent layers have it by default,
        transpose around the call: `drop(x.transpose(0, 1)).transpose(0, 1)`.

    Randomness:
        One decision per (sample, channel): neither the length of a sequence nor its cut into
        chunks moves a bit, as long as the chunks are of one step and pass. Otherwise as `Dropout`.

    Raises:
        UsageError: p is NaN or outside [0, 1]; the input has not 3 dimensions.

    References:
        Gal and Ghahramani: A Theoretically Grounded Application of Dropout in Recurrent Neural
        Networks, 2016. https://arxiv.org/abs/1512.05287
        Merity, Keskar and Socher: Regularizing and Optimizing LSTM Language Models, 2018, whose
        code gave it this name. https://arxiv.org/abs/1708.02182

    >>> import torch
    >>> kept = LockedDropout(p=0.5)(torch.ones(8, 10, 4)) != 0
    >>> bool((kept == kept[:, :1]).all())
    True
    """

    function = staticmethod(locked_dropout)

    def shared_dims(self, ndim: int) -> tuple[int, ...]:
        """Time."""
        return time_dims(ndim)
