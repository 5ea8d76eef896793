import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.augmentation import RandomHorizontalFlip
from scipy.stats import binom

from redrop.regularize.flip import draw_flips, flip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(flips=st.lists(st.booleans(), min_size=1, max_size=6), width=st.integers(1, 7))
def test_marked_images_are_mirrored_as_numpy_and_kornia_do(flips: list[bool], width: int):
    images = torch.randn(len(flips), 2, 3, width, generator=generator())
    marked = torch.tensor(flips)
    flipped = flip(images, marked)
    for image, mirrored, is_flipped in zip(images, flipped, flips, strict=True):
        expected = image.numpy()[:, :, ::-1] if is_flipped else image.numpy()
        assert np.array_equal(mirrored.numpy(), expected)
    theirs = RandomHorizontalFlip()(
        images,
        params={
            "batch_prob": marked.float(),
            "forward_input_shape": torch.tensor(images.shape),
        },
    )
    assert torch.equal(flipped, theirs)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_marked_images_is_p(p: float):
    low, high = binom.interval(1 - 1e-6, 10_000, p) if 0 < p < 1 else (10_000 * p, 10_000 * p)
    assert low <= draw_flips(p, 10_000, generator(1)).sum().item() <= high


@given(low=st.floats(0, 1), high=st.floats(0, 1))
def test_the_marked_set_grows_with_p(low: float, high: float):
    low, high = sorted((low, high))
    fewer, more = draw_flips(low, 50, generator(2)), draw_flips(high, 50, generator(2))
    assert not (fewer & ~more).any()
