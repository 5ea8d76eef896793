"""Dropout of whole channels: the drop-ins for `torch.nn.Dropout1d`, `Dropout2d`, `Dropout3d`."""

import warnings

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.window import Window
from redrop.nn.keyed_dropout import KeyedDropout
from redrop.ops.dropout import dropout


def dropout1d(
    x: Tensor, key: int | Tensor, p: float, *, window: Window | None = None, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, L) or (C, L) with probability p, rescale the others.

    y[n, c] = x[n, c] · keep[n, c] / (1 - p), one decision per channel of a sample.

    Args:
        x: Feature maps.
        key: Of the mask, from `redrop.mask.mask_key`.
        p: Probability that a channel is dropped.
        window: Where `x` stands in the whole; by default it is the whole.
        inplace: Write into `x`.

    Raises:
        UsageError: p outside [0, 1], or a number of dimensions that the function has no rule for.

    >>> import torch
    >>> dropout1d(torch.ones(4, 3), key=4, p=0.5)
    tensor([[2., 2., 2.],
            [0., 0., 0.],
            [0., 0., 0.],
            [2., 2., 2.]])
    """
    shared = feature_dims(x.dim(), spatial=1)
    return dropout(x, key, p, window=window, shared=shared, inplace=inplace)


def dropout2d(
    x: Tensor, key: int | Tensor, p: float, *, window: Window | None = None, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, H, W) with probability p; (N, C, L) as torch does.

    Arguments and formula are those of `dropout1d`.
    """
    shared = feature_dims(x.dim(), spatial=2)
    return dropout(x, key, p, window=window, shared=shared, inplace=inplace)


def dropout3d(
    x: Tensor, key: int | Tensor, p: float, *, window: Window | None = None, inplace: bool = False
) -> Tensor:
    """Zero whole channels of (N, C, D, H, W) or (C, D, H, W) with probability p.

    Arguments and formula are those of `dropout1d`.
    """
    shared = feature_dims(x.dim(), spatial=3)
    return dropout(x, key, p, window=window, shared=shared, inplace=inplace)


def feature_dims(ndim: int, spatial: int) -> tuple[int, ...]:
    """Return the dimensions that share a decision: those after the channels.

    Args:
        ndim: Of the tensor; without the batch it is one less.
        spatial: Dimensions of a feature map, 1 to 3.

    Raises:
        UsageError: There is no such layout.
    """
    if ndim not in (spatial + 1, spatial + 2):
        batched = ("(N, C, L)", "(N, C, H, W)", "(N, C, D, H, W)")[spatial - 1]
        raise UsageError(
            f"Dropout{spatial}d needs {batched}; got a tensor of {ndim} dimensions. "
            "Use Dropout for single elements."
        )
    # torch reads three dimensions as (N, C, L) in Dropout2d, for historical reasons; so do we.
    is_batched = ndim == spatial + 2 or spatial == 2
    return tuple(range(2 if is_batched else 1, ndim))


class _FeatureDropout(KeyedDropout):
    spatial: int

    def shared_dims(self, ndim: int) -> tuple[int, ...]:
        """All but samples and channels."""
        return feature_dims(ndim, self.spatial)

    def drop(self, x: Tensor) -> Tensor:
        """Drop channels; without a batch, `x` is one sample."""
        if 1 in self.shared_dims(x.dim()):
            # The window in the global batch needs the dimension of samples.
            return super().drop(x.unsqueeze(0)).squeeze(0)
        return super().drop(x)


class Dropout1d(_FeatureDropout, torch.nn.Dropout1d):
    """Drop whole channels of a sequence; a drop-in for `torch.nn.Dropout1d`.

    y[n, c] = x[n, c] · keep[n, c] / (1 - p) in training mode, y = x in eval mode. Neighbours in a
    feature map resemble each other, so dropping single ones tells the next layer little.

    Args:
        p: Probability that a channel is dropped.
        inplace: Write the result into the input.

    Shape:
        (N, C, L) or (C, L) in and out.

    Randomness:
        One decision per (sample, channel); otherwise as for `Dropout`.

    Raises:
        UsageError: p is NaN or outside [0, 1]; the input has neither 2 nor 3 dimensions.

    References:
        Tompson et al.: Efficient Object Localization Using Convolutional Networks, 2015 (spatial
        dropout). https://arxiv.org/abs/1411.4280

    >>> kept = Dropout1d(p=0.5)(torch.ones(8, 10, 4)) != 0
    >>> bool((kept == kept[:, :, :1]).all())
    True
    """

    function = staticmethod(dropout1d)
    spatial = 1


class Dropout2d(_FeatureDropout, torch.nn.Dropout2d):
    """Drop whole channels of an image; a drop-in for `torch.nn.Dropout2d`. See `Dropout1d`.

    Shape:
        (N, C, H, W) in and out. (N, C, L) warns, as in torch, and drops channels too; torch will
        one day read it as (C, H, W). Fewer or more dimensions, deprecated there, are an error.

    >>> kept = Dropout2d(p=0.5)(torch.ones(8, 10, 4, 4)) != 0
    >>> bool((kept == kept[:, :, :1, :1]).all())
    True
    """

    function = staticmethod(dropout2d)
    spatial = 2

    def drop(self, x: Tensor) -> Tensor:
        """Drop channels; three dimensions are read as (N, C, L), with a warning."""
        if x.dim() == 3:
            warnings.warn(
                "Dropout2d reads a tensor of 3 dimensions as (N, C, L), as torch still does. Use "
                "Dropout1d to say so, or add a batch dimension if it is (C, H, W).",
                stacklevel=2,
            )
        return super().drop(x)


class Dropout3d(_FeatureDropout, torch.nn.Dropout3d):
    """Drop whole channels of a volume; a drop-in for `torch.nn.Dropout3d`. See `Dropout1d`.

    Shape:
        (N, C, D, H, W) or (C, D, H, W) in and out.

    >>> kept = Dropout3d(p=0.5)(torch.ones(8, 10, 2, 2, 2)) != 0
    >>> bool((kept == kept[:, :, :1, :1, :1]).all())
    True
    """

    function = staticmethod(dropout3d)
    spatial = 3
