import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from redrop.errors import UsageError
from redrop.regularize.image_augmentation import ImageAugmentation

FULL = ImageAugmentation(flip=0.5, crop=2, erasing=0.5, mixup=0.4, cutmix=1.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch(count: int = 8, side: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    images = torch.randn(count, 3, side, side, generator=generator(1))
    return images, torch.randint(5, (count,), generator=generator(2))


def test_off_is_the_batch_itself_and_takes_no_random_number():
    images, labels = batch()
    source = generator()
    state = source.get_state()
    augmented, targets = ImageAugmentation()(images, labels, 5, source)
    assert augmented is images
    assert targets is labels
    assert torch.equal(source.get_state(), state)
    assert ImageAugmentation().is_off
    assert not FULL.is_off


@given(
    flip=st.sampled_from([0.0, 0.5]),
    crop=st.sampled_from([0, 2]),
    erasing=st.sampled_from([0.0, 0.5]),
    mixup=st.sampled_from([0.0, 0.4]),
    cutmix=st.sampled_from([0.0, 1.0]),
    seed=st.integers(0, 100),
)
def test_a_batch_is_a_function_of_the_seed_and_the_input_stays(
    flip: float, crop: int, erasing: float, mixup: float, cutmix: float, seed: int
):
    augment = ImageAugmentation(flip=flip, crop=crop, erasing=erasing, mixup=mixup, cutmix=cutmix)
    images, labels = batch()
    kept = images.clone()
    first, targets = augment(images, labels, 5, generator(seed))
    second, again = augment(images, labels, 5, generator(seed))
    assert torch.equal(first, second)
    assert torch.equal(targets, again)
    assert torch.equal(images, kept)
    assert first.shape == images.shape
    if mixup or cutmix:
        assert targets.shape == (8, 5)
        torch.testing.assert_close(targets.sum(1), torch.ones(8))
    else:
        assert targets is labels


@pytest.mark.parametrize("kind", ["flip", "crop", "erasing", "mixup", "cutmix"])
def test_each_kind_does_something_of_its_own(kind: str):
    alone = replace(ImageAugmentation(), **{kind: getattr(FULL, kind)})
    images, labels = batch()
    changed = sum(
        not torch.equal(alone(images, labels, 5, generator(seed))[0], images) for seed in range(5)
    )
    assert changed >= 3


def test_a_kind_keeps_its_draws_whatever_else_is_on():
    images, labels = batch()
    flipped, _ = ImageAugmentation(flip=0.5)(images, labels, 5, generator(4))
    _, soft = ImageAugmentation(mixup=0.4)(images, labels, 5, generator(4))
    both, soft_both = ImageAugmentation(flip=0.5, mixup=0.4)(images, labels, 5, generator(4))
    assert torch.equal(soft, soft_both)
    # the share of a sample is λ or more where its partner has its label
    row = int((labels != labels.roll(1)).nonzero()[0])
    lam = float(soft[row, labels[row]])
    torch.testing.assert_close(both, lam * flipped + (1 - lam) * flipped.roll(1, 0))


def test_both_mixings_take_turns():
    images, labels = batch()
    both = ImageAugmentation(mixup=1.0, cutmix=1.0)
    count, cut = 400, 0
    for seed in range(count):
        mixed, _ = both(images, labels, 5, generator(seed))
        # CutMix keeps every pixel of one image or the other
        cut += bool(((mixed == images) | (mixed == images.roll(1, 0))).all())
    low, high = binom.interval(1 - 1e-6, count, 0.5)
    assert low <= cut <= high


def test_a_table_can_be_mixed():
    rows = torch.randn(6, 4, generator=generator(1))
    values = torch.randn(6, generator=generator(2))
    mixed, targets = ImageAugmentation(mixup=0.5)(rows, values, None, generator(3))
    lam = float((targets[0] - values[-1]) / (values[0] - values[-1]))
    assert 0 < lam < 1
    torch.testing.assert_close(mixed, lam * rows + (1 - lam) * rows.roll(1, 0))
    torch.testing.assert_close(targets, lam * values + (1 - lam) * values.roll(1, 0))


@pytest.mark.parametrize("kind", ["flip", "crop", "erasing", "cutmix"])
def test_a_table_takes_nothing_else(kind: str):
    augment = replace(ImageAugmentation(mixup=0.5), **{kind: 1})
    with pytest.raises(UsageError, match=rf"`{kind}` need images .* has shape \(4,\)"):
        augment(torch.zeros(3, 4), torch.tensor([0, 1, 0]), 2, generator())
    with pytest.raises(UsageError, match=f"`{kind}` need images"):
        augment.check((4,))


@pytest.mark.parametrize(
    ("strength", "message"),
    [
        ({"flip": 1.5}, r"`flip` is a probability in \[0, 1\]; got 1.5"),
        ({"erasing": -0.1}, "`erasing` is a probability"),
        ({"flip": math.nan}, "`flip` is a probability"),
        ({"mixup": -1.0}, "`mixup` is the α"),
        ({"cutmix": math.inf}, "`cutmix` is the α"),
        ({"mixup": math.nan}, "`mixup` is the α"),
        ({"crop": -1}, "`crop` is a number of pixels"),
        ({"crop": 1.5}, "`crop` is a number of pixels"),
        ({"crop": math.inf}, "`crop` is a number of pixels"),
        ({"crop": math.nan}, "`crop` is a number of pixels"),
    ],
)
def test_a_strength_out_of_range_is_refused(strength: dict[str, float], message: str):
    with pytest.raises(UsageError, match=message):
        ImageAugmentation(**strength)


def test_a_whole_number_of_pixels_may_come_as_a_float():
    assert ImageAugmentation(crop=4.0) == ImageAugmentation(crop=4)


def test_padding_as_wide_as_the_image_is_refused():
    images, labels = batch(side=4)
    ImageAugmentation(crop=3)(images, labels, 5, generator())
    with pytest.raises(UsageError, match="less than a side of the image, 4 × 4; got 4"):
        ImageAugmentation(crop=4)(images, labels, 5, generator())
