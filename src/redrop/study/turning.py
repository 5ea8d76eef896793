"""The turning point: where the validation loss of a run stops falling and begins to rise.

It decides how long the runs of a study must be. Regularizers slow learning down, so before the
baseline has passed its own minimum it looks better than it is, and arms may not be judged there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

BEYOND = 1.3
"""A run has passed its minimum only if it went on to this multiple of the step where that lay."""

_FEWEST_EVALUATIONS = 6
_FEWEST_BEYOND = 3
# Neighbouring evaluations are alike, so their differences show only about half of the noise.
_TIMES_NOISE = 5.0


@dataclass(frozen=True, kw_only=True, slots=True)
class TurningPoint:
    """Where a run turned.

    Args:
        step: Of the lowest validation loss.
        loss: There, smoothed over three evaluations.
        rise: How much higher the loss was beyond 1.3 times that step (median).
        noise: From one evaluation to the next, as a standard deviation.
        steps: Length of the run.
    """

    step: int
    loss: float
    rise: float
    noise: float
    steps: int


def turning_point(
    curves: Sequence[Mapping[int, float | None]], margin: float
) -> TurningPoint | None:
    """Return the turning point of the mean of validation curves, or None where they have none.

    The curve is smoothed by running means of three. It has turned if the median of the
    evaluations beyond 1.3 times the lowest one's step lies above it by more than the margin and by
    more than five times the noise, and the last three evaluations all lie above it. The noise is
    that of second differences, 1.4826 median |x(i-1) - 2 x(i) + x(i+1)| / sqrt(6), from half of
    the lowest step on: a smooth curve has none.

    Args:
        curves: Validation loss by step, one curve per seed; a run that diverged counts as none.
        margin: Smallest difference in loss that matters.

    >>> falls = {step: 3.0 - step / 1000 for step in range(0, 1001, 50)}
    >>> turns = {step: 2.0 + abs(step - 400) / 1000 for step in range(0, 1001, 50)}
    >>> turning_point([falls], 0.01), turning_point([turns], 0.01).step
    (None, 400)
    """
    steps, losses = _mean_curve(curves)
    if len(steps) < _FEWEST_EVALUATIONS:
        return None
    smooth = [fmean(losses[max(0, i - 1) : i + 2]) for i in range(len(losses))]
    lowest = min(range(len(steps)), key=lambda i: (smooth[i], i))
    beyond = [
        loss for step, loss in zip(steps, losses, strict=True) if step >= BEYOND * steps[lowest]
    ]
    if len(beyond) < _FEWEST_BEYOND:
        return None
    begin = next(i for i, step in enumerate(steps) if step >= steps[lowest] / 2)
    noise = _noise(losses[begin:])
    rise = median(beyond) - smooth[lowest]
    if rise <= max(margin, _TIMES_NOISE * noise) or min(losses[-3:]) <= smooth[lowest]:
        return None
    return TurningPoint(
        step=steps[lowest], loss=smooth[lowest], rise=rise, noise=noise, steps=steps[-1]
    )


def _mean_curve(curves: Sequence[Mapping[int, float | None]]) -> tuple[list[int], list[float]]:
    """Return the steps that all curves have, and the mean loss at each."""
    if not curves:
        return [], []
    steps, losses = [], []
    for step in sorted(set.intersection(*(set(curve) for curve in curves))):
        values = [loss for curve in curves if (loss := curve[step]) is not None]
        if len(values) == len(curves):
            steps.append(step)
            losses.append(fmean(values))
    return steps, losses


def _noise(losses: Sequence[float]) -> float:
    bends = [
        abs(before - 2 * here + after)
        for before, here, after in zip(losses, losses[1:], losses[2:], strict=False)
    ]
    return 1.4826 * median(bends) / math.sqrt(6) if bends else 0.0
