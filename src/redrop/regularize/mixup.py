"""Mixup: train on straight lines between samples."""

import math

import torch
from scipy.special import betaincinv
from torch import Tensor

from redrop.errors import UsageError


def mixup(inputs: Tensor, targets: Tensor, lam: float) -> tuple[Tensor, Tensor]:
    """Mix each sample with the one before it in the batch, the first with the last.

        inputs[i]  ← λ · inputs[i]  + (1 − λ) · inputs[i − 1]
        targets[i] ← λ · targets[i] + (1 − λ) · targets[i − 1]

    One λ serves the whole batch, as in the paper's code and in torchvision's v2.MixUp.

    Args:
        inputs: Samples of any shape, batch first, floating point.
        targets: Soft targets (B, K), or values (B,) of a regression; floating point.
        lam: λ in [0, 1].

    Raises:
        UsageError: λ is outside [0, 1], or the targets are integers.

    References:
        Zhang, Cissé, Dauphin, Lopez-Paz: mixup: Beyond Empirical Risk Minimization. ICLR 2018.
        https://arxiv.org/abs/1710.09412

    >>> inputs, targets = mixup(torch.tensor([[0.0], [4.0]]), torch.eye(2), lam=0.75)
    >>> inputs.tolist(), targets.tolist()
    ([[1.0], [3.0]], [[0.75, 0.25], [0.25, 0.75]])
    """
    return blend(inputs, lam), blend(targets, lam)


def blend(values: Tensor, lam: float) -> Tensor:
    """Return λ · values + (1 − λ) · values of the sample before.

    Raises:
        UsageError: λ is outside [0, 1], or the values are integers.
    """
    if not 0 <= lam <= 1:
        raise UsageError(f"`lam` must lie in [0, 1]; got {lam}. 1 leaves the batch as it is.")
    if not values.is_floating_point():
        raise UsageError(
            f"Only floating-point values can be mixed; got {values.dtype}."
            " Turn class indices into one-hot rows first."
        )
    return lam * values + (1 - lam) * values.roll(1, 0)


def draw_lambda(alpha: float, generator: torch.Generator) -> float:
    """Draw λ ~ Beta(α, α): one uniform number through the inverse of the distribution function.

    So each draw takes one number of the generator, and the λ of two strengths that see the same
    number differ no more than they must.

    Args:
        alpha: Strength: 0.2 mixes little, 1 draws uniformly, more than 1 prefers halves.
        generator: The source of the number, on the CPU.

    Raises:
        UsageError: α is not a positive number.

    >>> draw_lambda(1.0, torch.Generator().manual_seed(0)) == torch.rand(
    ...     (), dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    ... ).item()
    True
    """
    if not (alpha > 0 and math.isfinite(alpha)):
        raise UsageError(
            f"`alpha` must be a positive number; got {alpha}. Leave mixing out for none."
        )
    uniform = torch.rand((), dtype=torch.float64, generator=generator).item()
    return float(betaincinv(alpha, alpha, uniform))
