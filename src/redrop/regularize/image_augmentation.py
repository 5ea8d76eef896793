"""What a training batch of images, or rows of a table, goes through before the network sees it."""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional as F

from redrop.errors import UsageError
from redrop.regularize.crop import crop, draw_corners
from redrop.regularize.cutmix import cutmix, draw_box
from redrop.regularize.flip import draw_flips, flip
from redrop.regularize.mixup import draw_lambda, mixup
from redrop.regularize.random_erasing import draw_boxes, erase

FOR_IMAGES = ("flip", "crop", "erasing", "cutmix")
STREAMS = ("flip", "crop", "erasing", "choice", "mixup", "cutmix")
"""Each kind has random numbers of its own, so two arms that share a kind share its draws too.
A new kind is added at the end."""


@dataclass(frozen=True, kw_only=True)
class ImageAugmentation:
    """Flip, crop, erase, then mix; each is off at 0. For training data only.

    Args:
        flip: Probability to mirror an image left to right. Not for digits, letters or anything
            else that means something different in a mirror: a mirrored 2 is no digit, and there
            this teaches errors.
        crop: Pixels of zero padding on each side, from which the old size is cut at random.
        erasing: Probability to erase a rectangle of an image.
        mixup: α of mixup's Beta(α, α), one λ a batch; the only kind for tables, where it also mixes
            the values of a regression.
        cutmix: α of CutMix. If both mixings are on, each batch takes one of them, with
            probability ½.

    Raises:
        UsageError: A strength is out of range.

    >>> augment = ImageAugmentation(mixup=0.2)
    >>> rows, targets = torch.zeros(4, 3), torch.tensor([0, 1, 0, 1])
    >>> _, soft = augment(rows, targets, 2, torch.Generator().manual_seed(0))
    >>> soft.shape, soft.sum(1).tolist()
    (torch.Size([4, 2]), [1.0, 1.0, 1.0, 1.0])
    """

    flip: float = 0.0
    crop: int = 0
    erasing: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        for name in ("flip", "erasing"):
            if not 0 <= (p := getattr(self, name)) <= 1:
                raise UsageError(
                    f"`{name}` is a probability in [0, 1]; got {p}. Pass 0.5 for every other image."
                )
        for name in ("mixup", "cutmix"):
            if not (0 <= (alpha := getattr(self, name)) < math.inf):
                raise UsageError(
                    f"`{name}` is the α of Beta(α, α), 0 (off) or more; got {alpha}. Pass 0.2."
                )
        if not (0 <= self.crop < math.inf and self.crop == int(self.crop)):
            raise UsageError(
                f"`crop` is a number of pixels, 0 (off) or more; got {self.crop}. Pass 4."
            )
        object.__setattr__(self, "crop", int(self.crop))  # a recipe may say 4.0

    @property
    def is_off(self) -> bool:
        """Whether batches pass through unchanged."""
        return not any(getattr(self, field.name) for field in fields(self))

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Raise UsageError unless samples of this shape, (C, H, W) or (F,), can go through."""
        if len(input_shape) == 3:
            if self.crop >= min(input_shape[1:]):
                raise UsageError(
                    f"`crop` must be less than a side of the image, {input_shape[1]} ×"
                    f" {input_shape[2]}; got {self.crop}: some crops would be empty."
                    " Pass an eighth of the side."
                )
        elif on := [name for name in FOR_IMAGES if getattr(self, name)]:
            raise UsageError(
                f"{', '.join(f'`{name}`' for name in on)} need images (C, H, W); one sample here"
                f" has shape {input_shape}. For a table, `mixup` is the augmentation there is."
            )

    def __call__(
        self, inputs: Tensor, targets: Tensor, classes: int | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Augment one training batch.

        λ, box and partners belong to this batch: where ranks share a global batch, and its rows
        are not to depend on their number, augment the global batch and cut afterwards.

        Args:
            inputs: Images (B, C, H, W) or rows (B, F), floating point.
            targets: (B,) class indices, or values if `classes` is None.
            classes: Number of classes; None for regression.
            generator: Seeded by the caller from (seed, step), on the CPU.

        Returns:
            The inputs, and the targets: as they came unless a mixing is on; then soft targets
            (B, classes), float32, or mixed values (B,).

        Raises:
            UsageError: Inputs of this shape cannot go through.
        """
        if self.is_off:
            return inputs, targets
        self.check(tuple(inputs.shape[1:]))
        # always as many, so that a kind's numbers do not depend on which others are on
        seeds = torch.randint(2**63 - 1, (len(STREAMS),), generator=generator).tolist()
        streams = {
            name: torch.Generator().manual_seed(seed)
            for name, seed in zip(STREAMS, seeds, strict=True)
        }
        inputs = self._change(inputs, streams)
        if not (self.mixup or self.cutmix):
            return inputs, targets
        soft = targets if classes is None else F.one_hot(targets, classes).float()
        if self._takes_cutmix(streams["choice"]):
            box = draw_box(self.cutmix, inputs.shape[-2], inputs.shape[-1], streams["cutmix"])
            return cutmix(inputs, soft, box)
        return mixup(inputs, soft, draw_lambda(self.mixup, streams["mixup"]))

    def _change(self, images: Tensor, streams: dict[str, torch.Generator]) -> Tensor:
        """Flip, crop and erase, image by image."""
        count = images.shape[0]
        if self.flip:
            images = flip(images, draw_flips(self.flip, count, streams["flip"]))
        if self.crop:
            images = crop(images, draw_corners(self.crop, count, streams["crop"]), self.crop)
        if self.erasing:
            height, width = images.shape[-2:]
            boxes = draw_boxes(self.erasing, count, height, width, streams["erasing"])
            images = erase(images, boxes)
        return images

    def _takes_cutmix(self, generator: torch.Generator) -> bool:
        if self.mixup and self.cutmix:
            return bool(torch.rand((), generator=generator) < 0.5)
        return bool(self.cutmix)
