import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from kornia.augmentation import RandomMixUpV2
from scipy import stats

from redrop.errors import UsageError
from redrop.regularize.mixup import blend, draw_lambda, mixup

lambdas = st.floats(0, 1)
shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=7)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(lam=lambdas, shape=shapes, classes=st.integers(1, 5), seed=st.integers(0, 2**32))
def test_samples_and_targets_lie_on_the_line_to_the_sample_before(
    lam: float, shape: tuple[int, ...], classes: int, seed: int
):
    inputs = torch.randn(shape, generator=generator(seed), dtype=torch.float64)
    targets = torch.rand(shape[0], classes, generator=generator(seed), dtype=torch.float64)
    mixed, soft = mixup(inputs, targets, lam)
    for row in range(shape[0]):
        before = row - 1  # of row 0 the last
        expected = lam * inputs[row].numpy() + (1 - lam) * inputs[before].numpy()
        np.testing.assert_allclose(mixed[row].numpy(), expected, rtol=1e-12, atol=1e-12)
        expected = lam * targets[row].numpy() + (1 - lam) * targets[before].numpy()
        np.testing.assert_allclose(soft[row].numpy(), expected, rtol=1e-12, atol=1e-12)


@given(lam=lambdas, size=st.sampled_from([(1, 1), (3, 5), (8, 8)]), count=st.integers(1, 9))
def test_the_same_draw_gives_kornias_numbers(lam: float, size: tuple[int, int], count: int):
    images = torch.rand(count, 3, *size, generator=generator(1))
    labels = torch.randint(4, (count,), generator=generator(2))
    pairs = torch.arange(count).roll(1)
    theirs, described = RandomMixUpV2(data_keys=["input", "class"])(
        images,
        labels,
        params={
            "mixup_pairs": pairs,
            # its λ is the partner's share
            "mixup_lambdas": torch.full((count,), 1 - lam),
            "batch_prob": torch.ones(count),
            "dtype": torch.tensor(2),
            "forward_input_shape": torch.tensor(images.shape),
        },
    )
    # (label, label of the partner, λ) as soft targets
    weight = described[:, 2:]
    own, other = (torch.eye(4)[described[:, column].long()] for column in (0, 1))
    mixed, soft = mixup(images, torch.eye(4)[labels], lam)
    torch.testing.assert_close(mixed, theirs, atol=1e-6, rtol=0)
    torch.testing.assert_close(soft, (1 - weight) * own + weight * other, atol=1e-6, rtol=0)


@pytest.mark.parametrize("lam", [0.0, 1.0])
def test_the_ends_are_the_partner_and_the_sample(lam: float):
    inputs = torch.randn(5, 2, generator=generator())
    mixed, _ = mixup(inputs, torch.zeros(5), lam)
    assert torch.equal(mixed, inputs if lam else inputs.roll(1, 0))


def test_a_batch_of_one_stays():
    inputs, targets = mixup(torch.tensor([[2.0]]), torch.tensor([3.0]), 0.5)
    assert (inputs.tolist(), targets.tolist()) == ([[2.0]], [3.0])


@pytest.mark.parametrize("lam", [-0.1, 1.1, math.nan])
def test_a_share_outside_0_to_1_is_refused(lam: float):
    with pytest.raises(UsageError, match=r"`lam` must lie in \[0, 1\]"):
        mixup(torch.zeros(2, 2), torch.zeros(2), lam)


def test_class_indices_are_refused():
    with pytest.raises(UsageError, match="torch.int64. Turn class indices into one-hot"):
        mixup(torch.zeros(2, 2), torch.tensor([0, 1]), 0.5)
    with pytest.raises(UsageError, match="floating-point"):
        blend(torch.zeros(2, dtype=torch.uint8), 0.5)


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 4.0])
def test_the_share_has_the_beta_distribution(alpha: float):
    source = generator(17)
    drawn = [draw_lambda(alpha, source) for _ in range(4000)]
    assert all(0 <= lam <= 1 for lam in drawn)
    # a draw that is right fails with probability 1e-4
    assert stats.kstest(drawn, stats.beta(alpha, alpha).cdf).pvalue > 1e-4


def test_a_larger_strength_moves_the_same_draw_towards_a_half():
    pairs = [
        (draw_lambda(0.2, generator(seed)), draw_lambda(1.0, generator(seed))) for seed in range(50)
    ]
    assert all(abs(weak - 0.5) > abs(strong - 0.5) for weak, strong in pairs)


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf])
def test_a_strength_that_is_not_positive_is_refused(alpha: float):
    with pytest.raises(UsageError, match="`alpha` must be a positive number"):
        draw_lambda(alpha, generator())
