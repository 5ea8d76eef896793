"""Train | validation | test: three contiguous blocks in the order of the text, never overlapping.

Blocks and not random windows: two windows a few characters apart share almost all of their text,
so a random split would put copies of training text into validation.
"""

import math
from dataclasses import dataclass

from redrop.errors import UsageError

SMALLEST_SHARE = 0.001
LARGEST_HELD_OUT = 0.9


@dataclass(frozen=True, kw_only=True)
class Split:
    """Where each part lies in a sequence; `text[split.train]` is the training part."""

    train: slice
    validation: slice
    test: slice


def split(length: int, validation: float = 0.1, test: float = 0.1) -> Split:
    """Cut a sequence into train | validation | test.

    The held-out parts take floor(share · length) items each, training takes the rest.

    Args:
        length: Number of items (characters, tokens) in the sequence.
        validation: Share of the items that goes to validation.
        test: Share of the items that goes to test, behind validation.

    Raises:
        UsageError: A share is below 0.001 or NaN, or both together exceed 0.9.

    >>> cut = split(10, validation=0.2, test=0.1)
    >>> "abcdefghij"[cut.train], "abcdefghij"[cut.validation], "abcdefghij"[cut.test]
    ('abcdefg', 'hi', 'j')
    """
    check_shares(validation, test)
    held_out = math.floor(length * validation), math.floor(length * test)
    first_test = length - held_out[1]
    first_validation = first_test - held_out[0]
    return Split(
        train=slice(0, first_validation),
        validation=slice(first_validation, first_test),
        test=slice(first_test, length),
    )


def sufficient_length(part: int, validation: float = 0.1, test: float = 0.1) -> int:
    """Return a length whose three parts hold at least `part` items each, for an error message.

    >>> sufficient_length(65)
    650
    """
    check_shares(validation, test)
    length = math.ceil(part / min(validation, test, 1 - validation - test))
    # 29 / 0.29 is 100.0 but 100 * 0.29 is 28.999999999999996: one more item may be needed
    while min(sizes(split(length, validation, test))) < part:
        length += 1
    return length


def sizes(parts: Split) -> tuple[int, int, int]:
    """Return the number of items in train, validation and test.

    >>> sizes(split(1000))
    (800, 100, 100)
    """
    train, validation, test = (
        block.stop - block.start for block in (parts.train, parts.validation, parts.test)
    )
    return train, validation, test


def check_shares(validation: float, test: float) -> None:
    """Raise UsageError unless both held-out shares can be honoured."""
    for name, share in (("validation", validation), ("test", test)):
        if not share >= SMALLEST_SHARE:  # `not >=` refuses NaN too
            raise UsageError(
                f"`{name}` is a share of the data, at least {SMALLEST_SHARE}; got {share}."
                " Pass 0.1 to hold out a tenth."
            )
    if not validation + test <= LARGEST_HELD_OUT:
        raise UsageError(
            f"`validation` and `test` together may take {LARGEST_HELD_OUT} of the data;"
            f" got {validation} and {test}. Pass 0.1 and 0.1 to train on the rest."
        )
