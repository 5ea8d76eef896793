"""CutMix: paste a rectangle of one image into another and mix their labels by its area."""

from dataclasses import dataclass

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.regularize.mixup import blend, draw_lambda


@dataclass(frozen=True, kw_only=True)
class Box:
    """Pixels top ≤ y < bottom, left ≤ x < right."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return (self.bottom - self.top) * (self.right - self.left)


def cutmix(images: Tensor, targets: Tensor, box: Box) -> tuple[Tensor, Tensor]:
    """Replace the box of each image by that of the image before it, the first's by the last's.

        λ          = 1 − area(box) / (H · W)
        targets[i] ← λ · targets[i] + (1 − λ) · targets[i − 1]

    λ is the share of pixels that stay, counted after the box was clipped at the border, as in the
    paper's code and in torchvision's v2.CutMix.

    Args:
        images: (B, C, H, W) floating point.
        targets: Soft targets (B, K), or values (B,); floating point.
        box: Inside the image; an empty one changes nothing.

    Raises:
        UsageError: The images are not of this shape, or the box is not inside them.

    References:
        Yun, Han, Oh, Chun, Choe, Yoo: CutMix: Regularization Strategy to Train Strong Classifiers
        with Localizable Features. ICCV 2019. https://arxiv.org/abs/1905.04899

    >>> images = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1).expand(2, 1, 2, 2)
    >>> mixed, targets = cutmix(images, torch.eye(2), Box(top=0, left=1, bottom=1, right=2))
    >>> mixed[0, 0].tolist(), targets[0].tolist()
    ([[0.0, 1.0], [0.0, 0.0]], [0.75, 0.25])
    """
    if images.dim() != 4:
        raise UsageError(
            f"CutMix needs images (B, C, H, W); got shape {tuple(images.shape)}."
            " Use mixup for other inputs."
        )
    height, width = images.shape[-2:]
    if not (0 <= box.top <= box.bottom <= height and 0 <= box.left <= box.right <= width):
        raise UsageError(
            f"The box must lie in the image of {height} × {width} pixels; got {box}."
            " Make it with `cut_box`."
        )
    mixed = images.clone()
    place = (..., slice(box.top, box.bottom), slice(box.left, box.right))
    mixed[place] = images.roll(1, 0)[place]
    return mixed, blend(targets, 1 - box.area / (height * width))


def cut_box(lam: float, *, row: int, column: int, height: int, width: int) -> Box:
    """Return the box of area (1 − λ) · H · W around a pixel, clipped at the border.

    Each half side is floor(½ · √(1 − λ) · side), so sides are even before they are clipped.

    Args:
        lam: Share of the image that is to stay, in [0, 1].
        row: Of the centre, 0 <= row < height.
        column: Of the centre, 0 <= column < width.
        height: Of the image.
        width: Of the image.

    >>> cut_box(0.75, row=4, column=7, height=8, width=8)
    Box(top=2, left=5, bottom=6, right=8)
    """
    if not 0 <= lam <= 1:
        raise UsageError(f"`lam` must lie in [0, 1]; got {lam}. 1 cuts nothing.")
    half = 0.5 * (1 - lam) ** 0.5
    half_height, half_width = int(half * height), int(half * width)
    return Box(
        top=max(row - half_height, 0),
        left=max(column - half_width, 0),
        bottom=min(row + half_height, height),
        right=min(column + half_width, width),
    )


def draw_box(alpha: float, height: int, width: int, generator: torch.Generator) -> Box:
    """Draw the box of a batch: λ ~ Beta(α, α), the centre uniform over the pixels.

    Args:
        alpha: Strength; 1 in the paper.
        height: Of the images.
        width: Of the images.
        generator: The source of three numbers, on the CPU.

    Raises:
        UsageError: α is not a positive number.
    """
    lam = draw_lambda(alpha, generator)
    row = int(torch.randint(height, (), generator=generator))
    column = int(torch.randint(width, (), generator=generator))
    return cut_box(lam, row=row, column=column, height=height, width=width)
