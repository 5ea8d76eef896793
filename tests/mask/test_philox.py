import numpy as np
import pytest

from redrop.mask.philox import philox4x32_10
from tests.vectors import definition

# Random123, tests/kat_vectors, philox4x32 10
KNOWN_ANSWERS = [
    ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ((2**32 - 1,) * 4, (2**32 - 1,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        "d16cfe09 94fdcceb 5001e420 24126ea1",
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), KNOWN_ANSWERS, ids=["zeros", "ones", "pi"])
def test_published_answers(counter, key, words):
    assert " ".join(f"{word:08x}" for word in philox4x32_10(counter, key)) == words


def test_arrays_and_integers_agree_and_broadcast():
    columns = np.arange(5, dtype=np.uint64)
    rows = np.arange(3, dtype=np.uint64)[:, None]
    zero = np.zeros((1, 1), dtype=np.uint64)
    words = philox4x32_10((columns, rows, zero, zero), (7, 8))
    for number in range(4):
        assert words[number].shape == (3, 5)
        assert int(words[number][2, 4]) == definition.philox([4, 2, 0, 0], [7, 8])[number]
