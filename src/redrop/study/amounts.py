"""Amounts as people write them: `124M`, `10B`, `3e8`, `25_000`."""

import math
import re

from redrop.errors import UsageError

_SUFFIXES = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "g": 1e9, "t": 1e12}
_AMOUNT = re.compile(r"([0-9][0-9_,]*(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?)\s*([kmbgt]?)", re.IGNORECASE)


def parse_amount(text: str, what: str) -> int:
    """Return a positive whole number from `124M`, `10B`, `3e8`, `1.5k` or `25_000`.

    Args:
        text: What was typed; k, M, B (or G) and T stand for 10^3, 10^6, 10^9 and 10^12.
        what: Name of the thing, for the message.

    Raises:
        UsageError: The text is no such number, or it is less than 1.

    >>> [parse_amount(text, "tokens") for text in ("124M", "3e8", "1,500")]
    [124000000, 300000000, 1500]
    """
    match = _AMOUNT.fullmatch(text.strip())
    value = math.nan
    if match is not None:
        value = float(re.sub("[_,]", "", match[1])) * _SUFFIXES[match[2].lower()]
    if not 1 <= value < math.inf:
        raise UsageError(
            f"`{what}` must be a number of at least 1, such as 124M, 10B or 3e8; got {text!r}."
        )
    return round(value)


def say_amount(value: float) -> str:
    """Return a number as people say it, with three digits at most.

    >>> [say_amount(value) for value in (124e6, 6.15e9, 25_000, 950, 0.0806)]
    ['124 M', '6.15 B', '25 k', '950', '0.0806']
    """
    for limit, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")):
        if value >= limit * (1 - 5e-4):
            return f"{_three_digits(value / (1e3 if unit == 'k' else limit))} {unit}"
    return _three_digits(value)


def _three_digits(value: float) -> str:
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
