"""A window as an operator's schema carries it: two lists of integers, or None for the whole."""

from collections.abc import Sequence

from redrop.mask.window import Window

Sizes = Sequence[int] | None


def to_schema(window: Window | None) -> tuple[Sizes, Sizes]:
    """Return (sizes, offset), both None where the tensor is the whole."""
    return (None, None) if window is None else (window.sizes, window.offset)


def from_schema(sizes: Sizes, offset: Sizes) -> Window | None:
    """Return the window that `to_schema` took apart.

    >>> from_schema(*to_schema(Window((8, 4), (2, 0))))
    Window(sizes=(8, 4), offset=(2, 0))
    """
    return None if sizes is None or offset is None else Window(tuple(sizes), tuple(offset))
