"""How numbers and arms are said in words, the same in verdict, table and figures."""

import math

from redrop.study.schema import StudyPlan


def signed(value: float, decimals: int = 3, *, plus: bool = False) -> str:
    """Return a number with a true minus sign, and a plus where asked.

    >>> signed(-0.1468), signed(0.1468, plus=True), signed(-0.0001)
    ('−0.147', '+0.147', '0.000')
    """
    text = f"{abs(value):.{decimals}f}"
    if not float(text):
        return text
    return ("−" if value < 0 else "+" if plus else "") + text


def decimals_for(half_width: float | None) -> int:
    """Return the decimals that show an interval: one digit of its half-width, two if it is 1.

    Never fewer than 3, the decimals of the losses beside it, and never more than 5.

    >>> decimals_for(0.012), decimals_for(0.006), decimals_for(0.0012), decimals_for(None)
    (3, 3, 4, 3)
    """
    if not half_width:
        return 3
    return min(5, max(3, -math.floor(math.log10(half_width / 2))))


def plus_minus(mean: float, half_width: float | None, *, plus: bool = False) -> str:
    """Return "mean ± half-width" at matching decimals, or the mean alone.

    >>> plus_minus(-0.1468, 0.0123), plus_minus(0.02, None, plus=True)
    ('−0.147 ± 0.012', '+0.020')
    """
    decimals = decimals_for(half_width)
    text = signed(mean, decimals, plus=plus)
    return text if half_width is None else f"{text} ± {half_width:.{decimals}f}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "seed"), count(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def capital(text: str) -> str:
    """Return the text with its first letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def listing(parts: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def describe_arm(plan: StudyPlan, name: str) -> str:
    """Return an arm's label, or its name where it has none."""
    return plan.arm(name).label or name
