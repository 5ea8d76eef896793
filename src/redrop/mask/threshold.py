"""How many: from the probability p to the integer that the random bits are compared with."""

import math

from redrop.errors import UsageError

ONE = 2**32
"""The threshold of p = 1: every 32-bit number lies below it."""


def threshold(p: float) -> int:
    """Return T = floor(p * 2^32); an element is dropped iff its 32 random bits u < T.

    Args:
        p: Probability that an element is dropped (not kept), 0 <= p <= 1.

    Raises:
        UsageError: p is no number, NaN or outside [0, 1].

    >>> threshold(0.5), threshold(1.0) == 2**32
    (2147483648, True)
    """
    try:
        is_rate = 0.0 <= p <= 1.0
    except TypeError:
        raise UsageError(f"`p` must be a number in [0, 1]; got {p!r}. Pass a float.") from None
    if not is_rate:
        raise UsageError(f"`p` must lie in [0, 1]; got {p}.{_advice(p)}")
    return math.floor(p * ONE)


def scale(threshold: int) -> float:
    """Return 1 / (1 - T / 2^32), the factor of a survivor, for the rate that T realises exactly.

    T = 2^32 (p = 1) has no survivors; the factor is then 0 and never used.

    >>> scale(threshold(0.5))
    2.0
    """
    return 0.0 if threshold == ONE else 1.0 / (1.0 - threshold / ONE)


def _advice(p: float) -> str:
    if 2.0 <= p <= 100.0:  # 1.5 is rather a slip than one and a half per cent
        return f" A percentage? Pass {p / 100:g}."
    return " Pass the share of elements to drop, 0 for none."
