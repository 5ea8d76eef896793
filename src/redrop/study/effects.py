"""From the runs of a screening to the effect of each factor, with its interval.

An effect is the mean of a factor's high half minus the mean of its low half, blocks removed. Where
a design was run more than once, its error is that of ordinary least squares, pooled over all that
main effects, blocks and two-factor interactions leave. Where every degree of freedom is used up by
a contrast, there is no such rest: then Lenth's pseudo standard error takes the smaller contrasts,
which most likely are pure noise, as the measure of noise. From so few contrasts its intervals
cover more than they promise (97 to 99 % for 95, in simulations of these designs).

References:
    Lenth: Quick and Easy Analysis of Unreplicated Factorials. Technometrics 31(4), 1989, 469-473.
    https://doi.org/10.1080/00401706.1989.10488595
    Daniel: Use of Half-Normal Plots in Interpreting Factorial Two-Level Experiments.
    Technometrics 1(4), 1959, 311-341.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from redrop.study.factorial import LETTERS, Design

Matrix = NDArray[np.float64]

# With fewer degrees of freedom left over, least squares says less about noise than Lenth's rule.
_ENOUGH_FREEDOM = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Effect:
    """What changes when a factor goes from low to high, all others averaged over.

    Args:
        name: Letters: of a factor ("A"), or of the interactions that coincide ("AB+CD").
        mean: Change in loss; negative is better.
        half_width: Of its interval, at the confidence asked for, alone.
        is_main: Whether it is the effect of one factor.
    """

    name: str
    mean: float
    half_width: float
    is_main: bool

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.mean + self.half_width


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """The effects of a design.

    Args:
        main: One per factor, in order.
        interactions: One per group of interactions that coincide, but for those given up.
        noise: Estimated standard deviation of one run.
        freedom: Degrees of freedom of the intervals.
        method: How the noise was found, in words.
    """

    main: tuple[Effect, ...]
    interactions: tuple[Effect, ...]
    noise: float
    freedom: float
    method: str

    def half_normal(self) -> tuple[tuple[float, float, str], ...]:
        """Return (quantile, |effect|, name) for a half-normal plot, smallest first.

        The i-th of m sizes stands at the quantile of probability 1/2 + (i - 1/2) / (2 m): pure
        noise lies on a line through 0, an effect above it.
        """
        ranked = sorted((*self.main, *self.interactions), key=lambda each: abs(each.mean))
        count = len(ranked)
        return tuple(
            (float(ndtri(0.5 + (place + 0.5) / (2 * count))), abs(each.mean), each.name)
            for place, each in enumerate(ranked)
        )


def estimate_effects(design: Design, losses: Sequence[float], confidence: float = 0.95) -> Effects:
    """Return the effects from one loss per run, in the order of the design's rows.

    The columns are: one per block, one per factor, one per group of two-factor interactions that
    no block split has used up. The estimate is least squares; each effect is twice a coefficient.

    >>> from redrop.study.factorial import make_design
    >>> design = make_design(4)
    >>> losses = [2.0 - 0.1 * row.high[1] + 0.3 * row.block for row in design.rows]
    >>> [round(effect.mean, 6) + 0 for effect in estimate_effects(design, losses).main]
    [0.0, -0.1, 0.0, 0.0]
    """
    columns, names = _columns(design)
    values = np.asarray(losses, dtype=np.float64)
    coefficients, *_ = np.linalg.lstsq(columns, values, rcond=None)
    effects = 2 * coefficients[design.blocks :]
    freedom = len(values) - columns.shape[1]
    if freedom >= _ENOUGH_FREEDOM:
        rest = values - columns @ coefficients
        noise = math.sqrt(float(rest @ rest) / freedom)
        errors = 2 * noise * np.sqrt(np.diag(np.linalg.inv(columns.T @ columns)))[design.blocks :]
        method = f"least squares, noise pooled over {freedom} degrees of freedom"
        degrees = float(freedom)
    else:
        error = pseudo_standard_error(effects.tolist())
        errors = np.full(len(effects), error)
        noise = error * math.sqrt(len(values)) / 2
        degrees = len(effects) / 3
        method = f"Lenth's pseudo standard error from {len(effects)} contrasts"
    quantile = float(stdtrit(degrees, (1 + confidence) / 2))
    found = [
        Effect(
            name=name,
            mean=float(mean),
            half_width=quantile * float(error),
            is_main=place < design.factors,
        )
        for place, (name, mean, error) in enumerate(zip(names, effects, errors, strict=True))
    ]
    return Effects(
        main=tuple(found[: design.factors]),
        interactions=tuple(found[design.factors :]),
        noise=noise,
        freedom=degrees,
        method=method,
    )


def pseudo_standard_error(contrasts: Sequence[float]) -> float:
    """Return Lenth's estimate of the standard error of contrasts of which most are noise.

    s = 1.5 median |c|, then PSE = 1.5 median of those |c| below 2.5 s: the median of the size of
    a normal variable is about 2/3 of its standard deviation, and real effects are left out.

    >>> round(pseudo_standard_error([0.1, -0.1, 0.1, -0.1, 9.0]), 6)
    0.15
    """
    sizes = [abs(contrast) for contrast in contrasts]
    limit = 2.5 * 1.5 * median(sizes)
    return 1.5 * median([size for size in sizes if size < limit] or sizes)


def _columns(design: Design) -> tuple[Matrix, list[str]]:
    """Return the matrix of blocks, factors and separable interactions, and the latter's names."""
    signs = design.signs()
    blocks = np.eye(design.blocks)[[row.block for row in design.rows]]
    matrix = np.hstack([blocks, signs])
    names = list(LETTERS[: design.factors])
    for group in design.interactions():
        first, second = (LETTERS.index(letter) for letter in group[0])
        wider = np.column_stack([matrix, signs[:, first] * signs[:, second]])
        # An interaction along which every replicate was split is part of the blocks.
        if np.linalg.matrix_rank(wider) > matrix.shape[1]:
            matrix = wider
            names.append("+".join(group))
    return matrix, names
