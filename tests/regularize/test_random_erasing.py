import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from kornia.augmentation import RandomErasing
from scipy import stats

from redrop.regularize.random_erasing import AREA, RATIO, draw_boxes, erase


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    count=st.integers(1, 6),
    channels=st.integers(1, 4),
    height=st.integers(2, 9),
    width=st.integers(2, 9),
    value=st.floats(0, 1, width=32),
    seed=st.integers(0, 1000),
)
def test_the_box_and_nothing_else_takes_the_value_in_numpy_and_kornia(
    count: int, channels: int, height: int, width: int, value: float, seed: int
):
    images = torch.randn(count, channels, height, width, generator=generator(seed))
    boxes = draw_boxes(1.0, count, height, width, generator(seed))
    erased = erase(images, boxes, value)
    expected = images.numpy().copy()
    for row, (top, left, bottom, right) in enumerate(boxes.tolist()):
        expected[row, :, top:bottom, left:right] = value
    assert np.array_equal(erased.numpy(), expected)

    is_erased = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    top, left, bottom, right = boxes.float().unbind(1)
    theirs = RandomErasing(p=1.0)(
        images,
        params={
            "ys": top,
            "xs": left,
            "heights": bottom - top,
            "widths": right - left,
            "values": torch.full((count,), value),
            "batch_prob": is_erased.float(),
            "forward_input_shape": torch.tensor(images.shape),
        },
    )
    assert torch.equal(erased, theirs)


def test_an_erased_infinity_is_gone():
    images = torch.full((1, 1, 2, 2), math.inf)
    assert erase(images, torch.tensor([[0, 0, 2, 2]])).tolist() == [[[[0.0, 0.0], [0.0, 0.0]]]]


def test_boxes_have_the_stated_distribution():
    height, width, count = 400, 300, 4000
    boxes = draw_boxes(1.0, count, height, width, generator(7)).double().numpy()
    top, left, bottom, right = boxes.T
    tall, wide = bottom - top, right - left
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (bottom <= height).all()
    assert (right <= width).all()
    # a third of this image at the most extreme ratio does not fit; below a fifth all boxes do,
    # and there area and ratio are independent and have the stated laws (each test fails at 1e-6)
    share = tall * wide / (height * width)
    ratio = tall / wide
    assert share.max() <= AREA[1] * 1.02
    assert share.min() >= AREA[0] * 0.95
    small = share < 0.2
    uniform = stats.uniform(AREA[0], 0.2 - AREA[0])
    assert stats.kstest(share[small], uniform.cdf).pvalue > 1e-6
    law = stats.uniform(math.log(RATIO[0]), math.log(RATIO[1]) - math.log(RATIO[0]))
    assert stats.kstest(np.log(ratio[small]), law.cdf).pvalue > 1e-6
    # whole numbers are spread to (k + ½) / n, to compare with a continuous law
    for start, room in ((top, height - tall), (left, width - wide)):
        assert stats.kstest((start + 0.5) / (room + 1), "uniform").pvalue > 1e-6


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_the_share_of_erased_images_is_p(p: float):
    boxes = draw_boxes(p, 5000, 64, 64, generator(1))
    erased = int((boxes[:, 2] > boxes[:, 0]).sum())
    low, high = stats.binom.interval(1 - 1e-6, 5000, p) if 0 < p < 1 else (5000 * p, 5000 * p)
    assert low <= erased <= high


@given(low=st.floats(0, 1), high=st.floats(0, 1))
def test_what_is_erased_at_p_is_erased_alike_at_more(low: float, high: float):
    low, high = sorted((low, high))
    fewer, more = (draw_boxes(p, 20, 16, 16, generator(3)) for p in (low, high))
    assert ((fewer == more).all(1) | (fewer == 0).all(1)).all()


def test_an_image_of_one_pixel_stays():
    # every box is as high as the image
    assert draw_boxes(1.0, 50, 1, 1, generator()).abs().max().item() == 0
