import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from scipy.stats import entropy

from redrop.regularize.entropy_penalty import confidence_penalty_loss, mean_entropy

LOGITS = st.sampled_from([(1, 1), (1, 2), (3, 7), (2, 3, 5)]).flatmap(
    lambda shape: arrays(np.float64, shape, elements=st.floats(-50, 50))
)


@given(LOGITS)
def test_it_is_scipys_entropy_averaged_over_positions(logits):
    expected = entropy(softmax(logits, axis=-1), axis=-1).mean()
    ours = mean_entropy(torch.from_numpy(logits)).item()
    assert ours == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(LOGITS)
def test_it_lies_between_0_and_the_logarithm_of_the_number_of_classes(logits):
    value = mean_entropy(torch.from_numpy(logits)).item()
    assert -1e-12 <= value <= math.log(logits.shape[-1]) + 1e-12


def test_the_gradient_is_right_to_the_second_order():
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(mean_entropy, (logits,))
    assert torch.autograd.gradgradcheck(mean_entropy, (logits,))


def test_a_forbidden_class_counts_nothing_and_spoils_no_gradient():
    allowed = torch.tensor([[0.3, -1.0]], requires_grad=True)
    forbidden = torch.tensor([[0.3, -1.0, -math.inf]], requires_grad=True)
    for logits in (allowed, forbidden):
        mean_entropy(logits).backward()
    assert mean_entropy(forbidden).item() == pytest.approx(mean_entropy(allowed).item())
    torch.testing.assert_close(forbidden.grad[:, :2], allowed.grad)
    assert forbidden.grad[0, 2] == 0.0


def test_bfloat16_logits_are_widened():
    torch.manual_seed(0)
    logits = torch.randn(4, 9).bfloat16()
    assert mean_entropy(logits).dtype == torch.float32
    assert mean_entropy(logits).item() == mean_entropy(logits.float()).item()


def test_the_loss_is_cross_entropy_less_beta_entropies():
    torch.manual_seed(0)
    logits, targets = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    loss = F.cross_entropy(logits, targets)
    p = softmax(logits.numpy(), axis=-1)
    expected = np.mean(-np.log(p[np.arange(5), targets]) - 0.3 * entropy(p, axis=-1))
    assert confidence_penalty_loss(loss, logits, 0.3).item() == pytest.approx(expected)
    assert confidence_penalty_loss(loss, logits, 0.0) is loss


def test_the_penalty_moves_the_optimum_away_from_certainty():
    # Of one sample with loss CE - beta · H the optimum solves d/dp [-log p - beta · H(p)] = 0.
    beta = 0.5
    logits = torch.zeros(1, 2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12)

    def closure():
        optimizer.zero_grad()
        loss = F.cross_entropy(logits, torch.tensor([0]))
        loss = confidence_penalty_loss(loss, logits, beta)
        loss.backward()
        return loss

    optimizer.step(closure)
    p = logits.softmax(-1)[0, 0].item()
    assert 0.5 < p < 0.999
    assert beta * (math.log(p) - math.log(1 - p)) == pytest.approx(1 / p, rel=1e-3)
