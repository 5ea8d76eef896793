"""Stochastic depth: drop the whole residual branch of a sample."""

from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.threshold import threshold
from redrop.mask.window import Window
from redrop.nn.keyed_dropout import KeyedDropout
from redrop.ops.dropout import dropout


def drop_path(
    x: Tensor, key: int | Tensor, p: float, *, window: Window | None = None, inplace: bool = False
) -> Tensor:
    """Zero whole samples with probability p and multiply the others by 1 / (1 - p).

    y[b] = x[b] · keep[b] / (1 - p), one decision per sample b.

    Args:
        x: Residual branch of shape (batch, …), before it is added to its shortcut.
        key: Of the mask, from `redrop.mask.mask_key`.
        p: Probability that a sample's branch is dropped.
        window: Where `x` stands in the global batch; by default it is the whole.
        inplace: Write into `x`.

    Raises:
        UsageError: p outside [0, 1], or `x` has no dimensions.

    >>> import torch
    >>> drop_path(torch.ones(4, 3), key=0, p=0.5)
    tensor([[2., 2., 2.],
            [2., 2., 2.],
            [0., 0., 0.],
            [2., 2., 2.]])
    """
    return dropout(x, key, p, window=window, shared=path_dims(x.dim()), inplace=inplace)


def path_dims(ndim: int) -> tuple[int, ...]:
    """Return the dimensions that share a decision: all but the first, the samples."""
    if ndim == 0:
        raise UsageError("DropPath needs a dimension of samples; got a tensor of 0 dimensions.")
    return tuple(range(1, ndim))


def drop_path_rates(p: float, depth: int) -> list[float]:
    """Return the rates of the blocks of a stack, growing linearly with depth up to p.

    Block l = 1 … depth gets p · l / depth: early blocks, on which all later ones stand, are dropped
    least. This is the paper's rule. Many vision models begin at 0, p · (l - 1) / (depth - 1), which
    leaves a stack of one block without any.

    Args:
        p: Rate of the last block.
        depth: Number of residual blocks.

    Raises:
        UsageError: p outside [0, 1], or a negative depth.

    References:
        Huang et al.: Deep Networks with Stochastic Depth, 2016, section 3.
        https://arxiv.org/abs/1603.09382

    >>> drop_path_rates(0.5, depth=4)
    [0.125, 0.25, 0.375, 0.5]
    """
    threshold(p)
    if depth < 0:
        raise UsageError(f"`depth` counts residual blocks; got {depth}.")
    return [p * block / depth for block in range(1, depth + 1)]


class DropPath(KeyedDropout):
    """Stochastic depth per sample: skip a residual branch, `x + drop_path(branch(x))`.

    y[b] = x[b] · keep[b] / (1 - p) in training mode, y = x in eval mode.

    Args:
        p: Probability that the branch of a sample is dropped. Usually one of `drop_path_rates`.
        inplace: Write the result into the input.

    Shape:
        (batch, …) in and out. The branch only: dropping the sum with the shortcut erases samples.

    Randomness:
        One decision per sample, its coordinate is the sample's; otherwise as for `Dropout`.

    Raises:
        UsageError: p is NaN or outside [0, 1]; the input has no dimensions.

    History:
        The idea goes by many names. Huang et al. call it stochastic depth; they decide once per
        mini-batch and multiply by 1 - p at test time. EfficientNet's TensorFlow code decides per
        sample, rescales in training as here, and called it `drop_connect`; but DropConnect (Wan et
        al., 2013) drops single weights and is `redrop.nn.DropConnect`. timm corrected the name to
        DropPath, which FractalNet (Larsson et al., 2017) had used for joining several paths. See
        https://github.com/tensorflow/tpu/issues/494. Dropping a layer for all samples and without
        a rescale is `redrop.nn.LayerDrop`.

    References:
        Huang et al.: Deep Networks with Stochastic Depth, 2016. https://arxiv.org/abs/1603.09382

    >>> import torch
    >>> kept = DropPath(p=0.5)(torch.ones(100, 2, 3)) != 0
    >>> bool((kept == kept[:, :1, :1]).all())
    True
    """

    function = staticmethod(drop_path)

    def shared_dims(self, ndim: int) -> tuple[int, ...]:
        """All but the samples."""
        return path_dims(ndim)
