"""Philox4x32-10, the counter-based generator behind every mask.

Written for reading: this is the definition, not the fast path. The words are Python integers, or
NumPy arrays of uint64 that broadcast; the same lines serve both.

References:
    Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3. SC 2011, table 2.
"""

from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint64]
"""32-bit words, each held in 64 bits so that a product of two never overflows."""

Word = TypeVar("Word", int, Words)

MULTIPLIER_0: Final = 0xD2511F53
MULTIPLIER_1: Final = 0xCD9E8D57
KEY_INCREMENT_0: Final = 0x9E3779B9  # golden ratio
KEY_INCREMENT_1: Final = 0xBB67AE85  # sqrt(3) - 1
ROUNDS: Final = 10

_LOW: Final = 0xFFFFFFFF


def philox4x32_10(
    counter: tuple[Word, Word, Word, Word], key: tuple[int, int]
) -> tuple[Word, Word, Word, Word]:
    """Return the four 32-bit words of each counter under the key.

    Args:
        counter: Four 32-bit words, lowest first; integers, or uint64 arrays that broadcast.
        key: Two 32-bit words, lowest first.

    Returns:
        Four 32-bit words; arrays have the broadcast shape.

    References:
        The known answers of Random123 (file kat_vectors) are in tests/mask/test_philox.py.

    >>> [f"{word:08x}" for word in philox4x32_10((0, 0, 0, 0), (0, 0))]
    ['6627e8d5', 'e169c58d', 'bc57ac4c', '9b00dbd8']
    """
    # NumPy's stubs take an integer operand for a signed one; at run time it becomes uint64.
    c0: Any
    c1: Any
    c2: Any
    c3: Any
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product_0, product_1 = c0 * MULTIPLIER_0, c2 * MULTIPLIER_1
        c0, c1, c2, c3 = (
            (product_1 >> 32) ^ c1 ^ k0,
            product_1 & _LOW,
            (product_0 >> 32) ^ c3 ^ k1,
            product_0 & _LOW,
        )
        k0 = (k0 + KEY_INCREMENT_0) & _LOW
        k1 = (k1 + KEY_INCREMENT_1) & _LOW
    return c0, c1, c2, c3
