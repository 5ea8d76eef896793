import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.augmentation import RandomCrop
from scipy.stats import chisquare

from redrop.regularize.crop import crop, draw_corners


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    count=st.integers(1, 5),
    channels=st.integers(1, 4),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    padding=st.integers(0, 3),
    seed=st.integers(0, 1000),
)
def test_crops_are_windows_of_the_padded_image(
    count: int, channels: int, height: int, width: int, padding: int, seed: int
):
    images = torch.randn(count, channels, height, width, generator=generator(seed))
    corners = draw_corners(padding, count, generator(seed))
    cropped = crop(images, corners, padding)
    assert cropped.is_contiguous()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    for row, (top, left) in enumerate(corners.tolist()):
        window = padded[row, :, top : top + height, left : left + width]
        assert np.array_equal(cropped[row].numpy(), window)


@given(seed=st.integers(0, 1000), padding=st.integers(1, 3))
def test_the_same_corners_give_kornias_crops(seed: int, padding: int):
    height, width, count = 5, 6, 4
    images = torch.randn(count, 2, height, width, generator=generator(seed))
    corners = draw_corners(padding, count, generator(seed))
    top, left = corners.float().unbind(1)
    bottom, right = top + height - 1, left + width - 1
    source = torch.stack([left, top, right, top, right, bottom, left, bottom], 1).view(-1, 4, 2)
    target = torch.tensor(
        [[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], dtype=torch.float32
    )
    theirs = RandomCrop((height, width), padding=padding, cropping_mode="slice")(
        images,
        params={
            "src": source,
            "dst": target.expand(count, 4, 2),
            "input_size": torch.tensor([[height + 2 * padding, width + 2 * padding]] * count),
            "output_size": torch.tensor([[height, width]] * count),
            "padding_size": torch.full((count, 4), padding),
            "batch_prob": torch.ones(count),
            "forward_input_shape": torch.tensor(
                [count, 2, height + 2 * padding, width + 2 * padding]
            ),
        },
    )
    assert torch.equal(crop(images, corners, padding), theirs)


def test_the_middle_corner_is_the_image():
    images = torch.randn(3, 2, 4, 5, generator=generator())
    assert torch.equal(crop(images, torch.full((3, 2), 2), padding=2), images)


def test_corners_are_uniform():
    corners = draw_corners(2, 20_000, generator(5))
    counts = torch.bincount(corners[:, 0] * 5 + corners[:, 1], minlength=25)
    # a uniform draw fails with probability 1e-6
    assert chisquare(counts.numpy()).pvalue > 1e-6
