"""Rebuild any mask of any step of any run from the integers that named it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from redrop.errors import UsageError
from redrop.mask.key import mask_key
from redrop.mask.reference import keep_mask
from redrop.mask.window import Window


def replay(
    *,
    seed: int,
    step: int,
    site: str,
    p: float,
    shape: Sequence[int],
    pass_: int = 0,
    window: Window | None = None,
    shared: Sequence[int] = (),
) -> NDArray[np.bool_]:
    """Return the keep mask that `site` used at `step` of the run with `seed`.

    Args:
        seed: Of the run, as given to `redrop.attach`.
        step: The optimizer step.
        site: Qualified name of the dropout module.
        p: Probability of dropping at that step.
        shape: Of the tensor that was dropped.
        pass_: Which use of the site in that step, 0 for the first.
        window: Which part of the whole to replay; by default the whole.
        shared: Dimensions that shared one decision.

    Returns:
        A boolean array, True where an element was kept.

    Raises:
        UsageError: p outside [0, 1], an integer or a coordinate out of range, or no shape.

    >>> replay(seed=0, step=3, site="blocks.0.attention.weights", p=0.25, shape=(1, 1, 2, 4)).shape
    (1, 1, 2, 4)
    """
    try:
        sizes = tuple(shape)
    except TypeError:
        raise UsageError(
            f"`shape` needs a size for each dimension; got {shape!r}. Pass ({shape!r},)."
        ) from None
    key = mask_key(seed, step, site, pass_)
    return keep_mask(key, p, sizes, window=window, shared=shared)
