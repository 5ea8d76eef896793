"""The keep mask, straight from the definition (SPEC.md): slow, obvious, and always right."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from redrop.mask.philox import Words, philox4x32_10
from redrop.mask.threshold import threshold
from redrop.mask.window import Coordinate, Window, coordinates

TAG_HIGH, TAG_LOW = 0, 1


def keep_mask(
    key: int,
    p: float,
    shape: Sequence[int],
    *,
    window: Window | None = None,
    shared: Sequence[int] = (),
) -> NDArray[np.bool_]:
    """Return which elements are kept: u(key, plane, row, col) >= floor(p * 2^32).

    Args:
        key: From `mask_key`.
        p: Probability that an element is dropped.
        shape: Of the local tensor.
        window: Where the local tensor stands in the whole; by default it is the whole.
        shared: Dimensions whose elements share one decision.

    Returns:
        A boolean array of `shape`, True where the element is kept.

    Raises:
        UsageError: p outside [0, 1], or coordinates out of range.

    >>> keep_mask(0x8B1EF9904FBD598E, 0.5, (2, 8)).astype(int)
    array([[0, 1, 1, 0, 0, 0, 0, 1],
           [1, 1, 0, 1, 0, 0, 1, 1]])
    """
    dropped_below = threshold(p)
    u = random_bits(key, *coordinates(shape, window, shared))
    return np.broadcast_to(u >= np.uint64(dropped_below), tuple(shape)).copy()


def random_bits(key: int, plane: Coordinate, row: Coordinate, col: Coordinate) -> Words:
    """Return u = high << 16 | low, the 32 random bits of each coordinate."""
    high = _half_word(key, plane, row, col, TAG_HIGH)
    low = _half_word(key, plane, row, col, TAG_LOW)
    return high << np.uint64(16) | low


def _half_word(key: int, plane: Coordinate, row: Coordinate, col: Coordinate, tag: int) -> Words:
    tags = np.full((1,) * col.ndim, tag, dtype=np.uint64)
    words = philox4x32_10((col >> np.uint64(3), row, plane, tags), (key % 2**32, key >> 32))
    number = col & np.uint64(7)
    word = np.choose((number >> np.uint64(1)).astype(np.intp), words)
    return word >> (np.uint64(16) * (number & np.uint64(1))) & np.uint64(0xFFFF)
