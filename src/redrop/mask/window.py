"""Which element: global, logical coordinates of the part of a tensor that is here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from redrop.errors import UsageError

MAX_PLANE = MAX_ROW = 2**32
MAX_COL = 2**35

Coordinate = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Window:
    """Where a local tensor stands in the whole tensor of the whole job.

    Args:
        sizes: Global size per dimension.
        offset: First index of the local tensor per dimension.

    Raises:
        UsageError: The two differ in length, or a number is negative.

    >>> Window(sizes=(8, 128, 96), offset=(4, 0, 0))  # the second half of a batch of 8
    Window(sizes=(8, 128, 96), offset=(4, 0, 0))
    """

    sizes: tuple[int, ...]
    offset: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.offset) or min((*self.sizes, *self.offset, 0)) < 0:
            raise UsageError(
                "A window needs one size and one offset >= 0 per dimension; got "
                f"sizes {self.sizes} and offset {self.offset}."
            )


def whole(shape: Sequence[int]) -> Window:
    """Return the window of a tensor that is the whole itself."""
    return Window(tuple(shape), (0,) * len(shape))


def check_window(window: Window, shape: Sequence[int]) -> None:
    """Refuse a window that the local shape leaves, or coordinates that would wrap around.

    Raises:
        UsageError: A dimension reaches beyond its global size, the number of dimensions differs,
            or plane >= 2^32, row >= 2^32 or col >= 2^35 would be needed.
    """
    sizes = window.sizes
    fits = len(shape) == len(sizes) and all(
        first + count <= size
        for first, count, size in zip(window.offset, shape, sizes, strict=True)
    )
    if not fits:
        raise UsageError(
            f"A window must lie inside its whole; got shape {tuple(shape)} at offset "
            f"{window.offset} of sizes {sizes}. Pass the global sizes of the whole job."
        )
    planes, rows, cols = math.prod(sizes[:-2]), math.prod(sizes[-2:-1]), math.prod(sizes[-1:])
    if planes > MAX_PLANE or rows > MAX_ROW or cols > MAX_COL:
        raise UsageError(
            "A mask has at most 2^32 planes, 2^32 rows and 2^35 columns; got "
            f"{planes} planes, {rows} rows and {cols} columns from sizes {sizes}. Reshape it."
        )


def check_shared(shared: Sequence[int], ndim: int) -> tuple[int, ...]:
    """Return the shared dimensions as sorted non-negative numbers.

    Raises:
        UsageError: A dimension does not exist.
    """
    if any(not -ndim <= dim < ndim for dim in shared):
        raise UsageError(
            f"A shared dimension must exist; got {tuple(shared)} for a tensor of {ndim} dimensions."
        )
    return tuple(sorted({dim % ndim for dim in shared}))


def coordinates(
    shape: Sequence[int], window: Window | None = None, shared: Sequence[int] = ()
) -> tuple[Coordinate, Coordinate, Coordinate]:
    """Return (plane, row, col) of every element, as arrays that broadcast to `shape`.

    col is the last index, row the one before, plane the row-major index over the rest; all three
    are global. A shared dimension has coordinate 0, so its elements get one decision.

    >>> plane, row, col = coordinates((2, 3, 2, 4))
    >>> plane.ravel().tolist(), row.ravel().tolist(), col.ravel().tolist()
    ([0, 1, 2, 3, 4, 5], [0, 1], [0, 1, 2, 3])
    """
    window = whole(shape) if window is None else window
    check_window(window, shape)
    shared = check_shared(shared, len(shape))
    index = []
    for dim, (first, count) in enumerate(zip(window.offset, shape, strict=True)):
        along = np.arange(first, first + count, dtype=np.uint64)
        along = np.zeros_like(along) if dim in shared else along
        index.append(along.reshape([-1 if dim == other else 1 for other in range(len(shape))]))
    zero = np.zeros((1,) * len(shape), dtype=np.uint64)
    plane = zero
    for along, size in zip(index[:-2], window.sizes[:-2], strict=True):
        plane = plane * np.uint64(size) + along
    row = index[-2] if len(index) > 1 else zero
    col = index[-1] if index else zero
    return plane, row, col
