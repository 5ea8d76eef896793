"""One check for every integer that a caller passes."""

from redrop.errors import UsageError

SEED_MOST = 2**64 - 1


def check_range(name: str, value: int, smallest: int, largest: int | None = None) -> None:
    """Raise UsageError unless smallest <= value <= largest (None: no upper end).

    >>> check_range("context", 64, 1)
    """
    if value < smallest or (largest is not None and value > largest):
        upper = "" if largest is None else f" and at most {largest}"
        raise UsageError(
            f"`{name}` must be at least {smallest}{upper}; got {value}. Pass a number in the range."
        )
