import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.mask import Window
from redrop.nn.locked_dropout import locked_dropout
from tests.nn.expected import dropped

KEY = 0x8B1EF9904FBD598E


@given(
    key=st.integers(0, 2**64 - 1),
    p=st.floats(0, 1),
    shape=st.tuples(*[st.integers(0, 9)] * 3),
)
def test_all_time_steps_have_one_mask(key, p, shape):
    x = torch.randn(shape)
    assert torch.equal(locked_dropout(x, key, p), dropped(x, key, p, shared=(1,)))


@given(p=st.floats(0.01, 0.99), shape=st.tuples(*[st.integers(1, 9)] * 3))
def test_backward_has_the_mask_of_forward(p, shape):
    x = torch.randn(shape, requires_grad=True)
    upstream = torch.randn(shape)
    locked_dropout(x, KEY, p).backward(upstream)
    assert torch.equal(x.grad, dropped(upstream, KEY, p, shared=(1,)))


def test_a_sequence_in_chunks_keeps_its_mask():
    x = torch.randn(4, 10, 8)
    whole = locked_dropout(x, KEY, 0.5)
    chunk = locked_dropout(x[:, 3:7], KEY, 0.5, window=Window((4, 10, 8), (0, 3, 0)))
    assert torch.equal(chunk, whole[:, 3:7])
    assert torch.equal(locked_dropout(x[:, 3:7], KEY, 0.5), chunk)  # time does not count at all


def test_time_first_by_two_transposes():
    x = torch.randn(10, 4, 8)
    y = locked_dropout(x.transpose(0, 1), KEY, 0.5).transpose(0, 1)
    expected = dropped(x.transpose(0, 1), KEY, 0.5, shared=(1,)).transpose(0, 1)
    assert torch.equal(y, expected)
    assert torch.equal((y != 0)[0], (y != 0)[9])


def test_channels_and_samples_differ():
    kept = locked_dropout(torch.ones(64, 1, 64), KEY, 0.5)[:, 0] != 0
    assert len({tuple(row.tolist()) for row in kept}) == 64
    assert len({tuple(column.tolist()) for column in kept.T}) == 64
