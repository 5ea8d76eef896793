import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.regularize.l2 import l2_penalty

RATES = st.floats(1e-4, 0.5)
SEEDS = st.integers(0, 2**31)


def parameters(seed):
    """Two parameters, and for each of a few steps the gradient of the data's loss."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    weights = [torch.nn.Parameter(draw(3, 2)), torch.nn.Parameter(draw(4))]
    gradients = [[draw(3, 2), draw(4)] for _ in range(4)]
    return weights, gradients


def train(optimizer, weights, gradients, penalty=0.0):
    """Steps on the loss Σ g·w + penalty · l2, whose data part has the gradient g."""
    for step in gradients:
        optimizer.zero_grad()
        loss = sum((g * w).sum() for g, w in zip(step, weights, strict=True))
        (loss + penalty * l2_penalty(weights)).backward()
        optimizer.step()
    return [w.detach().numpy() for w in weights]


@given(SEEDS)
def test_it_is_half_the_sum_of_squares_and_its_gradient_is_the_weight(seed):
    weights, _ = parameters(seed)
    expected = sum(float((w.detach().numpy() ** 2).sum()) for w in weights) / 2
    penalty = l2_penalty(iter(weights))
    assert penalty.item() == pytest.approx(expected)
    for weight, gradient in zip(weights, torch.autograd.grad(penalty, weights), strict=True):
        torch.testing.assert_close(gradient, weight.detach())


def test_of_nothing_it_is_0():
    assert l2_penalty([]).item() == 0.0


@given(SEEDS, RATES, RATES)
def test_under_plain_sgd_it_is_decoupled_decay(seed, rate, penalty):
    weights, gradients = parameters(seed)
    decoupled = [w.detach().numpy().copy() for w in weights]
    for step in gradients:
        for i, gradient in enumerate(step):
            decoupled[i] = (1 - rate * penalty) * decoupled[i] - rate * gradient.numpy()
    sgd = torch.optim.SGD(weights, lr=rate)
    for ours, theirs in zip(train(sgd, weights, gradients, penalty), decoupled, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


@given(SEEDS)
def test_under_adam_it_is_not(seed):
    coupled, gradients = parameters(seed)
    decoupled, _ = parameters(seed)
    plain, _ = parameters(seed)
    rate, penalty = 0.01, 0.5
    ours = train(torch.optim.Adam(coupled, lr=rate), coupled, gradients, penalty)
    adamw = torch.optim.AdamW(decoupled, lr=rate, weight_decay=penalty)
    theirs = train(adamw, decoupled, gradients)
    neither = train(torch.optim.AdamW(plain, lr=rate, weight_decay=0.0), plain, gradients)
    for a, b, c in zip(ours, theirs, neither, strict=True):
        # What decay did of its own accord is at least a tenth away from what the penalty did.
        assert np.abs(a - b).max() > 0.1 * np.abs(b - c).max() > 0.0


@given(st.floats(1e-3, 1e3), st.floats(0.1, 10.0))
def test_adam_moves_a_weight_without_gradient_by_the_rate_whatever_the_penalty(penalty, size):
    weight = torch.nn.Parameter(torch.tensor([size], dtype=torch.float64))
    zero = [[torch.zeros(1, dtype=torch.float64)]]
    adam = torch.optim.Adam([weight], lr=0.01, eps=1e-12)
    assert train(adam, [weight], zero, penalty)[0] == pytest.approx(size - 0.01)
    weight = torch.nn.Parameter(torch.tensor([size], dtype=torch.float64))
    adamw = torch.optim.AdamW([weight], lr=0.01, weight_decay=penalty, eps=1e-12)
    assert train(adamw, [weight], zero)[0] == pytest.approx(size * (1 - 0.01 * penalty))
