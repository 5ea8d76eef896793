"""Random erasing: a rectangle of an image becomes one colour."""

import math

import torch
from torch import Tensor

AREA = (0.02, 1 / 3)
"""Least and most share of the image that is erased, as in the paper (0.02 to 0.33 in others)."""
RATIO = (0.3, 1 / 0.3)
"""Least and most height over width."""
ATTEMPTS = 10
"""Rectangles drawn for each image; if none fits, the image stays whole, as in torchvision."""


def erase(images: Tensor, boxes: Tensor, value: float = 0.0) -> Tensor:
    """Set the pixels of each image's box to a value.

    Args:
        images: (B, C, H, W).
        boxes: (B, 4) int64: top, left, bottom, right, the last two outside; empty ones erase
            nothing.
        value: The new colour; 0 is the mean colour of normalised images.

    References:
        Zhong, Zheng, Kang, Li, Yang: Random Erasing Data Augmentation. AAAI 2020.
        https://arxiv.org/abs/1708.04896 (its best variant fills with noise; one colour keeps the
        draw at four numbers an image)

    >>> erase(torch.ones(1, 1, 2, 3), torch.tensor([[0, 1, 1, 3]])).tolist()
    [[[[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]]]
    """
    height, width = images.shape[-2:]
    top, left, bottom, right = boxes.to(images.device)[:, :, None, None].unbind(1)
    rows = torch.arange(height, device=images.device)[:, None]
    columns = torch.arange(width, device=images.device)[None, :]
    is_erased = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    # a choice, not a product: an erased infinity must not leave NaN behind
    return torch.where(is_erased[:, None], images.new_tensor(value), images)


def draw_boxes(p: float, count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw a box for each of `count` images; empty with probability 1 − p.

    Share s of the image uniform in AREA, height over width r log-uniform in RATIO, sides rounded
    to whole pixels, at least one:

        h = √(s · H · W · r),  w = √(s · H · W / r),  top in 0 … H − h,  left in 0 … W − w.

    A box that is as high or as wide as the image is drawn again. The log makes tall and wide boxes
    equally likely, as in torchvision; the paper draws r itself uniformly.

    Shape:
        (count, 4) int64: top, left, bottom, right.

    Randomness:
        The generator gives as many numbers whatever p is; an image erased at p is erased alike at
        more than p.
    """
    is_chosen = torch.rand(count, generator=generator) < p
    share, ratio, down, across = torch.rand(
        4, count, ATTEMPTS, dtype=torch.float64, generator=generator
    )
    area = height * width * (AREA[0] + (AREA[1] - AREA[0]) * share)
    low, high = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = torch.exp(low + (high - low) * ratio)
    tall = torch.round(torch.sqrt(area * ratio)).long().clamp(min=1)
    wide = torch.round(torch.sqrt(area / ratio)).long().clamp(min=1)
    fits = (tall < height) & (wide < width)
    first = fits.long().argmax(1, keepdim=True)  # of equal values argmax takes the first
    tall, wide, down, across = (
        drawn.gather(1, first).squeeze(1) for drawn in (tall, wide, down, across)
    )
    top = (down * (height - tall + 1)).long()
    left = (across * (width - wide + 1)).long()
    boxes = torch.stack([top, left, top + tall, left + wide], dim=1)
    return torch.where((is_chosen & fits.any(1))[:, None], boxes, torch.zeros_like(boxes))
