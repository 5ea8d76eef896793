"""Gaussian dropout: multiplicative noise with dropout's mean and variance, and no zeros."""

from collections.abc import Sequence

from torch import Tensor

from redrop.nn.keyed_dropout import KeyedDropout
from redrop.ops.gaussian_dropout import check_gaussian_p, gaussian_dropout, gaussian_noise


class GaussianDropout(KeyedDropout):
    """Multiply each activation by noise of mean 1 and variance p / (1 - p).

    y = x · n with n ~ N(1, p / (1 - p)) in training mode, y = x in eval mode. Dropout's factor has
    the same mean and variance, but two values only. n < 0 has the probability Φ(-sqrt(1/p - 1)), at
    p = 0.5 that is 16 %.

    Args:
        p: The rate of the dropout whose variance the noise has; 1 has none and is refused.
        inplace: Write the result into the input.

    Shape:
        Any; the output has the shape of the input.

    Randomness:
        n = 1 + Φ⁻¹(q) · sqrt(p / (1 - p)), q = (u + 1/2) / 2^32, u the random bits of the element;
        see `redrop.ops.gaussian_dropout`. n rises with u, so what `Dropout` with the same key would
        drop is what gets the smallest factors here. `redrop.nn.replay` gives the factors.

    Raises:
        UsageError: p is NaN or outside [0, 1).

    References:
        Srivastava et al.: Dropout. JMLR 15, 2014, section 10, where p is the keep probability.
        https://jmlr.org/papers/v15/srivastava14a.html

    >>> import torch
    >>> _ = torch.manual_seed(0)
    >>> y = GaussianDropout(p=0.5)(torch.ones(100_000))
    >>> abs(float(y.mean()) - 1) < 0.02, abs(float(y.std()) - 1) < 0.02
    (True, True)
    """

    function = staticmethod(gaussian_dropout)

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        check_gaussian_p(p)
        super().__init__(p, inplace)

    def mask_of(self, key: int, p: float, shape: Sequence[int]) -> Tensor:
        """Return the factors n, in float64."""
        return gaussian_noise(key, p, shape)
