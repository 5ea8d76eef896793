import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import entropy

from redrop import nn
from redrop.regularize.r_drop import r_drop_loss, symmetric_kl

SHAPES = st.sampled_from([(1, 1), (1, 2), (3, 7), (2, 3, 5)])
LOGITS = st.floats(-20, 20)


def pair(draw_range):
    return SHAPES.flatmap(
        lambda shape: st.tuples(
            arrays(np.float64, shape, elements=draw_range),
            arrays(np.float64, shape, elements=draw_range),
        )
    )


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@given(pair(LOGITS))
def test_it_is_the_mean_of_scipys_two_divergences(logits):
    a, b = logits
    p, q = softmax(a), softmax(b)
    expected = np.mean((entropy(p, q, axis=-1) + entropy(q, p, axis=-1)) / 2)
    ours = symmetric_kl(torch.from_numpy(a), torch.from_numpy(b)).item()
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(pair(st.floats(-1e4, 1e4, width=32)))
def test_it_is_symmetric_finite_and_never_negative(logits):
    a, b = (torch.from_numpy(x).float() for x in logits)
    there, back = symmetric_kl(a, b), symmetric_kl(b, a)
    assert there.item() == back.item()
    assert 0.0 <= there.item() < float("inf")
    assert symmetric_kl(a, a).item() == 0.0


@given(pair(LOGITS), st.floats(-100, 100))
def test_a_constant_on_all_logits_changes_nothing(logits, shift):
    a, b = map(torch.from_numpy, logits)
    assert symmetric_kl(a + shift, b).item() == pytest.approx(symmetric_kl(a, b).item(), abs=1e-9)


def test_the_gradient_is_right_to_the_second_order_and_reaches_both_sides():
    torch.manual_seed(0)
    a, b = (torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True) for _ in "ab")
    assert torch.autograd.gradcheck(symmetric_kl, (a, b))
    assert torch.autograd.gradgradcheck(symmetric_kl, (a, b))
    for gradient in torch.autograd.grad(symmetric_kl(a, b), (a, b)):
        assert gradient.abs().max() > 1e-3


def test_gradients_are_finite_where_a_probability_has_become_0():
    a = torch.tensor([[0.0, 500.0, -500.0]], requires_grad=True)
    b = torch.tensor([[300.0, 0.0, -900.0]], requires_grad=True)
    symmetric_kl(a, b).backward()
    assert torch.isfinite(a.grad).all()
    assert torch.isfinite(b.grad).all()


def test_bfloat16_logits_are_compared_in_float32():
    torch.manual_seed(0)
    a, b = (torch.randn(4, 9).bfloat16() for _ in "ab")
    value = symmetric_kl(a, b)
    assert value.dtype == torch.float32
    assert value.item() == symmetric_kl(a.float(), b.float()).item()


def two_passes():
    torch.manual_seed(0)
    a, b = (torch.randn(6, 5, dtype=torch.float64) for _ in "ab")
    targets = torch.tensor([0, 1, 2, 3, 4, 0])
    return F.cross_entropy(a, targets), F.cross_entropy(b, targets), a, b, targets


def test_the_loss_is_half_of_the_papers():
    loss_a, loss_b, a, b, targets = two_passes()
    p, q = softmax(a.numpy()), softmax(b.numpy())
    rows = np.arange(len(targets))
    cross_entropies = -np.log(p[rows, targets]) - np.log(q[rows, targets])
    divergences = entropy(p, q, axis=-1) + entropy(q, p, axis=-1)
    for alpha in (0.5, 5.0):
        paper = np.mean(cross_entropies + alpha * divergences / 2)
        assert r_drop_loss(loss_a, loss_b, a, b, alpha).item() == pytest.approx(paper / 2)


def test_without_alpha_it_is_the_mean_cross_entropy():
    loss_a, loss_b, a, b, _ = two_passes()
    assert r_drop_loss(loss_a, loss_b, a, b, 0.0).item() == ((loss_a + loss_b) / 2).item()
    # In eval mode the two passes are one.
    assert r_drop_loss(loss_a, loss_a, a, a, 3.0).item() == loss_a.item()


def test_two_forwards_of_an_attached_step_differ_and_their_loss_can_be_trained():
    torch.manual_seed(0)
    model = torch.nn.Sequential(nn.Dropout(0.5), torch.nn.Linear(6, 3))
    state = nn.attach(model, seed=0)
    x, targets = torch.randn(8, 6), torch.arange(8) % 3

    def divergence():
        state.set_step(0)
        return symmetric_kl(model(x), model(x)).item()

    before = divergence()
    assert before > 0.01
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(50):
        state.set_step(0)
        a, b = model(x), model(x)
        loss = r_drop_loss(F.cross_entropy(a, targets), F.cross_entropy(b, targets), a, b, 50.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert divergence() < before / 10
