"""The task of images and tables: a class or a value for each sample."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redrop.data.sample_batch import eval_sample_batches, sample_batch
from redrop.data.samples import Samples
from redrop.errors import UsageError
from redrop.mask.key import mask_key
from redrop.models.build import build_model
from redrop.models.config import MLPConfig, VisionTransformerConfig
from redrop.regularize.image_augmentation import ImageAugmentation
from redrop.tasks.configure import configure
from redrop.tasks.metrics import ClassScorer, ValueScorer
from redrop.train.loss import cross_entropy
from redrop.train.recipe import Recipe
from redrop.train.task import Batch, PartName

EVALUATED_ROWS = 256
"""Samples evaluated at a time."""

_AUGMENTATION = "redrop.tasks.augmentation"
"""Name of the site whose key seeds the augmentation of a step."""


@dataclass(frozen=True, eq=False)
class SamplesTask:
    """Samples, a network for them, and what is done to the training samples.

    Args:
        samples: Images or rows of a table.
        model: A vision transformer for images, or a network for vectors, which reads an image as
            the row of its pixels.
        augment: Strength of each augmentation, the arguments of `ImageAugmentation`.

    Raises:
        UsageError: An augmentation does not exist or does not fit the samples.
    """

    samples: Samples
    model: MLPConfig | VisionTransformerConfig
    augment: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the data."""
        return self.samples.name

    @property
    def sha256(self) -> str:
        """Of the data."""
        return self.samples.sha256

    @property
    def unit(self) -> str:
        """Of the loss."""
        return "nats" if self.is_classification else "squared standard deviations"

    @property
    def is_classification(self) -> bool:
        """Whether classes are predicted."""
        return not self.samples.is_regression

    def check(self, recipe: Recipe) -> None:
        """Raise UsageError unless a recipe fits, before anything is trained."""
        self.with_recipe(recipe)

    def with_recipe(self, recipe: Recipe, seed: int = 0) -> "SamplesTask":  # noqa: ARG002
        """Return the task with a recipe's network and augmentation.

        Args:
            recipe: Of the run.
            seed: Of the run; samples are augmented batch by batch, so it is not needed here.

        Raises:
            UsageError: The recipe does not fit.
        """
        sample_augmentation(recipe.augment).check(self.samples.input_shape)
        return replace(self, model=configure(self.model, recipe), augment=dict(recipe.augment))

    def describe(self) -> dict[str, Any]:
        """Return what a record says about the data."""
        train = len(self.samples.train)
        return {**self.samples.describe(), "train_targets": train, "unit": self.unit}

    def settings(self) -> dict[str, Any]:
        """Return network and augmentation as JSON."""
        return {"model": asdict(self.model), "augment": dict(self.augment)}

    def state(self) -> dict[str, Any]:
        """Return the names of the classes and the units of the target."""
        described = self.samples.describe()
        return {"samples": {key: described[key] for key in ("target", "classes", "features")}}

    def build(self, seed: int) -> nn.Module:
        """Return the network."""
        return build_model(self.model, seed=seed)

    def batch(self, *, seed: int, step: int, batch_size: int) -> Batch:
        """Return training samples, augmented by draws that (seed, step) decide."""
        inputs, targets = sample_batch(
            self.samples.train, seed=seed, step=step, batch_size=batch_size
        )
        augmentation = sample_augmentation(self.augment)
        if not augmentation.is_off:
            key = mask_key(seed, step, _AUGMENTATION)
            generator = torch.Generator().manual_seed(key % 2**63)
            classes = None if self.samples.classes is None else len(self.samples.classes)
            inputs, targets = augmentation(inputs, targets, classes, generator)
        return Batch(inputs, targets)

    def part(self, name: PartName, limit: int) -> Sequence[Batch]:
        """Return the samples of a part, not augmented."""
        part = getattr(self.samples, name)
        return [Batch(*pair) for pair in eval_sample_batches(part, EVALUATED_ROWS, limit)]

    def outputs(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return logits (B, classes), or values (B,)."""
        if isinstance(self.model, MLPConfig):
            inputs = inputs.flatten(1)
        outputs: Tensor = model(inputs)
        return outputs if self.is_classification else outputs.squeeze(1)

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy in nats, or the squared error in standard deviations²."""
        if self.is_classification:
            return cross_entropy(outputs, targets, label_smoothing)
        return F.mse_loss(outputs, targets)

    def scorer(self) -> ClassScorer | ValueScorer:
        """Return the scorer of classes or values."""
        if self.is_classification:
            return ClassScorer()
        return ValueScorer(self.samples.target_scale)


def sample_augmentation(augment: Mapping[str, Any]) -> ImageAugmentation:
    """Return what a recipe's strengths mean for samples.

    Raises:
        UsageError: A name is no augmentation of samples, or a value is refused.
    """
    try:
        return ImageAugmentation(**augment)
    except TypeError as error:
        asked = ", ".join(f"{name} {strength}" for name, strength in augment.items())
        raise UsageError(
            "Samples can be augmented by flip, crop, erasing, mixup and cutmix, each with a number "
            f"as its strength; got {asked}."
        ) from error
