import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from redrop.mask import Window, keep_mask, mask_key, replay
from tests.vectors import definition

VECTORS = json.loads(definition.FILE.read_text(encoding="utf-8"))["masks"]

keys = st.integers(0, 2**64 - 1)
probabilities = st.floats(0, 1)
shapes = st.lists(st.integers(0, 11), max_size=5).map(tuple)


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["site"] for vector in VECTORS])
def test_vectors(vector):
    key = int(vector["mask_key"], 16)
    assert mask_key(int(vector["seed"], 16), vector["step"], vector["site"], vector["pass"]) == key
    window = Window(tuple(vector["sizes"]), tuple(vector["offset"]))
    kept = keep_mask(key, vector["p"], vector["shape"], window=window, shared=vector["shared"])
    text = "".join("1" if bit else "0" for bit in kept.ravel())
    assert vector["keep"] in (None, text)
    assert hashlib.sha256(text.encode()).hexdigest() == vector["sha256"]


def test_vectors_file_is_what_the_definition_writes():
    assert json.loads(json.dumps(definition.vectors()))["masks"] == VECTORS


@given(key=keys, p=probabilities, shape=shapes, data=st.data())
def test_one_element_at_a_time_gives_the_same_bits(key, p, shape, data):
    sizes = tuple(n + data.draw(st.integers(0, 9)) for n in shape)
    offset = tuple(
        data.draw(st.integers(0, size - n)) for n, size in zip(shape, sizes, strict=True)
    )
    shared = data.draw(st.sets(st.integers(0, len(shape) - 1))) if shape else set()
    kept = keep_mask(key, p, shape, window=Window(sizes, offset), shared=tuple(shared))
    expected = definition.keep_bits(key, p, shape, sizes, offset, shared)
    assert "".join("1" if bit else "0" for bit in kept.ravel()) == expected


@given(key=keys, p=probabilities, q=probabilities, shape=shapes)
def test_kept_set_shrinks_as_p_grows(key, p, q, shape):
    low, high = sorted((p, q))
    assert np.all(keep_mask(key, low, shape) | ~keep_mask(key, high, shape))


@given(key=keys, p=probabilities, rows=st.integers(1, 9), cols=st.integers(2, 40), data=st.data())
def test_the_whole_is_its_windows_put_together(key, p, rows, cols, data):
    cut = data.draw(st.integers(0, cols))
    whole = keep_mask(key, p, (3, rows, cols))
    left = keep_mask(key, p, (3, rows, cut), window=Window((3, rows, cols), (0, 0, 0)))
    right = keep_mask(key, p, (3, rows, cols - cut), window=Window((3, rows, cols), (0, 0, cut)))
    assert np.array_equal(whole, np.concatenate([left, right], axis=2))


@given(key=keys, p=probabilities, short=st.integers(1, 20), more=st.integers(0, 20))
def test_padding_moves_no_bit(key, p, short, more):
    padded = keep_mask(key, p, (2, 2, short + more, short + more))
    assert np.array_equal(padded[:, :, :short, :short], keep_mask(key, p, (2, 2, short, short)))


@given(key=keys, p=probabilities)
def test_a_shared_dimension_has_one_decision(key, p):
    kept = keep_mask(key, p, (4, 6, 5), shared=(1, 2))
    assert np.all(kept == kept[:, :1, :1])
    assert np.array_equal(kept[:, :1, :1], keep_mask(key, p, (4, 1, 1)))


@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9])
def test_share_of_dropped_elements_is_p(p):
    # 20 masks and 4 values of p; a false alarm once in 10^6 runs of this test per mask.
    n = 2**16
    low, high = binom.interval(1 - 1e-6, n, p)
    for step in range(20):
        dropped = n - int(replay(seed=1, step=step, site="rate", p=p, shape=(256, 256)).sum())
        assert low <= dropped <= high


def test_edges_of_p():
    assert keep_mask(1, 0.0, (1000,)).all()
    assert not keep_mask(1, 1.0, (1000,)).any()
    assert keep_mask(1, 0.5, (0, 3)).shape == (0, 3)
    assert keep_mask(1, 0.5, ()).shape == ()
