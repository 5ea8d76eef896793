import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.nn import DropPath, drop_path_rates
from redrop.nn.drop_path import drop_path
from tests.nn.expected import dropped

KEY = 0x8B1EF9904FBD598E


@given(
    key=st.integers(0, 2**64 - 1),
    p=st.floats(0, 1),
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=5),
)
def test_samples_are_dropped_as_a_whole_and_rescaled(key, p, shape):
    x = torch.randn(shape)
    expected = dropped(x, key, p, shared=range(1, len(shape)))
    assert torch.equal(drop_path(x, key, p), expected)


@given(p=st.floats(0.01, 0.99), shape=st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_backward_drops_the_gradient_of_the_same_samples(p, shape):
    x = torch.randn(shape, requires_grad=True)
    upstream = torch.randn(shape)
    drop_path(x, KEY, p).backward(upstream)
    assert torch.equal(x.grad, dropped(upstream, KEY, p, shared=range(1, len(shape))))


def test_a_dropped_branch_leaves_its_shortcut():
    x = torch.randn(50, 4)
    branch = torch.full((50, 4), math.inf)  # what is dropped is gone, even an infinity
    y = x + DropPath(0.5)(branch)
    is_dropped = (y == x).all(dim=1)
    assert 0 < is_dropped.sum() < 50
    assert (y[~is_dropped] == math.inf).all()


def test_a_path_over_samples_depends_on_neither_tokens_nor_channels():
    many = drop_path(torch.ones(9, 5, 7), KEY, 0.5)[:, 0, 0]
    assert torch.equal(drop_path(torch.ones(9, 2, 3), KEY, 0.5)[:, 0, 0], many)


def test_rates_grow_linearly_to_p():
    assert drop_path_rates(0.3, 3) == [pytest.approx(0.1), pytest.approx(0.2), 0.3]
    assert drop_path_rates(0.3, 1) == [0.3]
    assert drop_path_rates(0.3, 0) == []


@pytest.mark.parametrize(
    ("p", "depth", "message"), [(1.5, 3, "`p` must lie"), (0.1, -1, "`depth`")]
)
def test_rates_of_nonsense_are_refused(p, depth, message):
    with pytest.raises(UsageError, match=message):
        drop_path_rates(p, depth)
