import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.nn.token_dropout import token_dropout
from tests.nn.expected import dropped

KEY = 0x8B1EF9904FBD598E


@given(
    key=st.integers(0, 2**64 - 1),
    p=st.floats(0, 1),
    shape=st.tuples(*[st.integers(0, 9)] * 3),
)
def test_tokens_are_dropped_as_a_whole_and_rescaled(key, p, shape):
    x = torch.randn(shape)
    assert torch.equal(token_dropout(x, key, p), dropped(x, key, p, shared=(2,)))


@given(p=st.floats(0.01, 0.99), shape=st.tuples(*[st.integers(1, 9)] * 3))
def test_backward_drops_the_gradient_of_the_same_tokens(p, shape):
    x = torch.randn(shape, requires_grad=True)
    upstream = torch.randn(shape)
    token_dropout(x, KEY, p).backward(upstream)
    assert torch.equal(x.grad, dropped(upstream, KEY, p, shared=(2,)))


def test_padding_a_sequence_moves_no_token():
    short = token_dropout(torch.ones(4, 6, 3), KEY, 0.5)
    long = token_dropout(torch.ones(4, 9, 3), KEY, 0.5)
    assert torch.equal(short, long[:, :6])


def test_tokens_of_a_sample_and_samples_of_a_token_differ():
    kept = token_dropout(torch.ones(64, 64, 1), KEY, 0.5)[:, :, 0] != 0
    assert len({tuple(row.tolist()) for row in kept}) == 64
    assert len({tuple(column.tolist()) for column in kept.T}) == 64
