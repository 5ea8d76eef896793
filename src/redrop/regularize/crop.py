"""Shift images by a few pixels: pad on all sides, then cut the old size at a random place."""

import torch
from torch import Tensor
from torch.nn import functional as F


def crop(images: Tensor, corners: Tensor, padding: int) -> Tensor:
    """Pad with zeros, the mean colour of normalised images, and cut (H, W) at each corner.

        out[b, c, y, x] = padded[b, c, top_b + y, left_b + x]

    Args:
        images: (B, C, H, W).
        corners: (B, 2) int64, top and left in the padded image, each in 0 to 2 · padding; both
            equal to `padding` is the image as it was.
        padding: Pixels added on each side.

    >>> crop(torch.tensor([[[[1, 2], [3, 4]]]]), torch.tensor([[1, 0]]), padding=1).tolist()
    [[[[0, 1], [0, 3]]]]
    """
    count, _, height, width = images.shape
    corners = corners.to(images.device)
    padded = F.pad(images, (padding, padding, padding, padding))
    rows = corners[:, :1] + torch.arange(height, device=images.device)
    columns = corners[:, 1:] + torch.arange(width, device=images.device)
    sample = torch.arange(count, device=images.device)[:, None, None]
    # indices apart from each other put the channels last
    cut = padded[sample, :, rows[:, :, None], columns[:, None, :]]
    return cut.permute(0, 3, 1, 2).contiguous()


def draw_corners(padding: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw (count, 2) corners, uniform over 0 to 2 · padding."""
    return torch.randint(2 * padding + 1, (count, 2), generator=generator)
