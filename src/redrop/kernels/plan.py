"""Which mask a fused kernel applies."""

from typing import NamedTuple

from redrop.mask.window import Window


class MaskPlan(NamedTuple):
    """The integers that say everything about a mask.

    Args:
        key: Of the mask.
        threshold: T, below 2^32; 0 keeps everything.
        window: Where the tensor stands in the whole; None if it is the whole.
        shared: Dimensions whose elements share one decision.
    """

    key: int
    threshold: int
    window: Window | None = None
    shared: tuple[int, ...] = ()
