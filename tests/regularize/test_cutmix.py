import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.augmentation import RandomCutMixV2
from scipy.stats import binom

from redrop.errors import UsageError
from redrop.regularize.cutmix import Box, cut_box, cutmix, draw_box

sides = st.integers(1, 12)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@st.composite
def draws(draw: st.DrawFn) -> tuple[int, int, Box]:
    height, width = draw(sides), draw(sides)
    box = cut_box(
        draw(st.floats(0, 1)),
        row=draw(st.integers(0, height - 1)),
        column=draw(st.integers(0, width - 1)),
        height=height,
        width=width,
    )
    return height, width, box


@given(drawn=draws(), count=st.integers(1, 6), channels=st.integers(1, 4))
def test_pixels_and_targets_follow_the_formula(
    drawn: tuple[int, int, Box], count: int, channels: int
):
    height, width, box = drawn
    images = torch.randn(count, channels, height, width, generator=generator(1))
    targets = torch.rand(count, 3, generator=generator(2))
    before = images.clone()
    mixed, soft = cutmix(images, targets, box)
    assert torch.equal(images, before)

    kept = 0
    for row in range(height):
        for column in range(width):
            is_cut = box.top <= row < box.bottom and box.left <= column < box.right
            source = images.roll(1, 0) if is_cut else images
            assert torch.equal(mixed[:, :, row, column], source[:, :, row, column])
            kept += not is_cut
    lam = kept / (height * width)
    expected = lam * targets.numpy() + (1 - lam) * np.roll(targets.numpy(), 1, axis=0)
    np.testing.assert_allclose(soft.numpy(), expected, atol=1e-6)


@given(drawn=draws(), count=st.integers(1, 6))
def test_the_same_draw_gives_kornias_numbers(drawn: tuple[int, int, Box], count: int):
    height, width, box = drawn
    images = torch.rand(count, 3, height, width, generator=generator(1))
    labels = torch.randint(4, (count,), generator=generator(2))
    # corners clockwise from the top left, the last pixel inside
    corners = torch.tensor(
        [
            [box.left, box.top],
            [box.right - 1, box.top],
            [box.right - 1, box.bottom - 1],
            [box.left, box.bottom - 1],
        ],
        dtype=torch.float32,
    )
    theirs, described = RandomCutMixV2(data_keys=["input", "class"], use_correct_lambda=True)(
        images,
        labels,
        params={
            "mix_pairs": torch.arange(count).roll(1)[None],
            "crop_src": corners.expand(1, count, 4, 2),
            "image_shape": torch.tensor([height, width], dtype=torch.float32),
            "batch_prob": torch.ones(count),
            "dtype": torch.tensor(2),
            "forward_input_shape": torch.tensor(images.shape),
        },
    )
    own, other, share = described[0].unbind(1)
    # a share is λ where kornia follows the paper: what stays of the image
    soft_theirs = (
        share[:, None] * torch.eye(4)[own.long()]
        + (1 - share[:, None]) * torch.eye(4)[other.long()]
    )
    mixed, soft = cutmix(images, torch.eye(4)[labels], box)
    torch.testing.assert_close(mixed, theirs, atol=0, rtol=0)
    torch.testing.assert_close(soft, soft_theirs, atol=1e-6, rtol=0)


@given(
    lam=st.floats(0, 1), height=sides, width=sides, row=st.floats(0, 0.999), column=st.floats(0, 1)
)
def test_a_box_is_centred_and_clipped(
    lam: float, height: int, width: int, row: float, column: float
):
    y, x = int(row * height), min(int(column * width), width - 1)
    box = cut_box(lam, row=y, column=x, height=height, width=width)
    half = math.sqrt(1 - lam) / 2
    rows = [r for r in range(height) if y - int(half * height) <= r < y + int(half * height)]
    columns = [c for c in range(width) if x - int(half * width) <= c < x + int(half * width)]
    assert box.area == len(rows) * len(columns)
    if box.area:
        assert (box.top, box.bottom) == (rows[0], rows[-1] + 1)
        assert (box.left, box.right) == (columns[0], columns[-1] + 1)


def test_a_box_far_from_the_border_has_the_area_asked_for():
    box = cut_box(0.75, row=32, column=64, height=64, width=128)
    assert box.area == 0.25 * 64 * 128


def test_the_ends_cut_nothing_and_the_most():
    assert cut_box(1.0, row=3, column=3, height=8, width=8).area == 0
    assert cut_box(0.0, row=4, column=4, height=8, width=8).area == 64


def test_centres_are_uniform_over_the_pixels():
    source, size, count = generator(3), 5, 3000
    # at a tiny strength λ is almost always 0 or 1: boxes are whole, clipped around their centre
    boxes = [draw_box(1e-3, size, size, source) for _ in range(count)]
    is_cut = [box for box in boxes if box.area]
    # half sides are 2: the top is max(row − 2, 0), so 0 for three rows of five; the left alike.
    # Each limit fails with probability 1e-6 at most.
    low, high = binom.interval(1 - 1e-6, len(is_cut), 3 / 5)
    assert low <= sum(box.top == 0 for box in is_cut) <= high
    assert low <= sum(box.left == 0 for box in is_cut) <= high
    low, high = binom.interval(1 - 1e-6, len(is_cut), 1 / 25)
    assert low <= sum((box.top, box.left) == (2, 2) for box in is_cut) <= high
    low, high = binom.interval(1 - 1e-6, count, 1 / 2)
    assert low <= len(is_cut) <= high


def test_a_table_is_refused():
    with pytest.raises(UsageError, match=r"CutMix needs images \(B, C, H, W\); got shape \(2, 3\)"):
        cutmix(torch.zeros(2, 3), torch.zeros(2), Box(top=0, left=0, bottom=1, right=1))


@pytest.mark.parametrize("corners", [(-1, 0, 2, 2), (0, 0, 5, 2), (0, 3, 2, 2), (0, 0, 2, 7)])
def test_a_box_outside_the_image_is_refused(corners: tuple[int, int, int, int]):
    box = Box(**dict(zip(("top", "left", "bottom", "right"), corners, strict=True)))
    with pytest.raises(UsageError, match="The box must lie in the image of 4 × 6 pixels"):
        cutmix(torch.zeros(2, 1, 4, 6), torch.zeros(2), box)


@pytest.mark.parametrize("lam", [-0.1, 1.1, math.nan])
def test_a_share_outside_0_to_1_is_refused(lam: float):
    with pytest.raises(UsageError, match="`lam` must lie in"):
        cut_box(lam, row=0, column=0, height=4, width=4)
