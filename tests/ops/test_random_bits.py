import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.mask import Window, keep_mask
from redrop.ops import random_bits
from redrop.ops.key import signed
from tests.vectors.definition import philox

KEY = 0x8B1EF9904FBD598E


def bits_of(key, plane, row, col):
    """The definition, one element at a time in plain integers (SPEC.md, section 4)."""
    halves = []
    for tag in (0, 1):
        words = philox([col // 8, row, plane, tag], [key % 2**32, key >> 32])
        halves.append(words[col % 8 // 2] >> 16 * (col % 2) & 0xFFFF)
    return halves[0] << 16 | halves[1]


@given(
    key=st.integers(0, 2**64 - 1),
    shape=st.tuples(*[st.integers(0, 4)] * 3, st.integers(0, 11)),
    offset=st.tuples(*[st.integers(0, 20)] * 4),
    shared=st.sets(st.integers(0, 3)),
)
def test_bits_are_those_of_the_definition(key, shape, offset, shared):
    sizes = tuple(first + count + 3 for first, count in zip(offset, shape, strict=True))
    window = Window(sizes, offset)
    u = random_bits(key, shape, window=window, shared=sorted(shared))
    assert u.dtype == torch.int64
    assert tuple(u.shape) == shape
    for local in list(np.ndindex(shape))[:20]:
        a, b, row, col = (
            0 if dim in shared else first + at
            for dim, (first, at) in enumerate(zip(offset, local, strict=True))
        )
        assert int(u[local]) == bits_of(key, a * sizes[1] + b, row, col)


@given(p=st.floats(0, 1), shape=st.lists(st.integers(0, 9), max_size=4))
def test_bits_below_the_threshold_are_what_dropout_drops(p, shape):
    kept = random_bits(KEY, shape) >= int(p * 2**32)
    assert torch.equal(kept, torch.from_numpy(keep_mask(KEY, p, shape)))


def test_operator_passes_opcheck():
    key, device = torch.tensor(signed(KEY)), torch.device("cpu")
    for sizes, offset, shared in [(None, None, []), ([8, 8], [1, 2], [0])]:
        arguments = (key, [4, 6], sizes, offset, shared, device)
        result = torch.library.opcheck(torch.ops.redrop.random_bits.default, arguments)
        assert set(result.values()) == {"SUCCESS"}


def test_a_key_in_a_tensor_means_the_same():
    key = torch.tensor(signed(KEY))
    assert torch.equal(random_bits(key, (3, 9)), random_bits(KEY, (3, 9)))


def test_a_window_that_the_shape_leaves_is_refused():
    with pytest.raises(UsageError, match="window"):
        random_bits(KEY, (3, 3), window=Window((3, 3), (1, 0)))
