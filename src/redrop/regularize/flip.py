"""Mirror images left to right."""

import torch
from torch import Tensor


def flip(images: Tensor, flipped: Tensor) -> Tensor:
    """Mirror the images that are marked.

    Args:
        images: (B, C, H, W).
        flipped: (B,) bool.

    >>> flip(torch.tensor([[[[1, 2]]], [[[3, 4]]]]), torch.tensor([True, False])).tolist()
    [[[[2, 1]]], [[[3, 4]]]]
    """
    return torch.where(flipped.to(images.device)[:, None, None, None], images.flip(-1), images)


def draw_flips(p: float, count: int, generator: torch.Generator) -> Tensor:
    """Mark each of `count` images with probability p; who is marked at p stays so at more than p.

    >>> draw_flips(0.0, 3, torch.Generator()).tolist(), draw_flips(1.0, 2, torch.Generator()).all()
    ([False, False, False], tensor(True))
    """
    return torch.rand(count, generator=generator) < p
