"""Samples: images or rows of a table in three parts, and where they came from."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from redrop.errors import UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """Inputs and what is to be said of them, sample by sample.

    Args:
        inputs: float32; images (N, C, H, W), rows of a table (N, F).
        targets: (N,): int64 classes, or float32 values in standard deviations of training.
    """

    inputs: Tensor
    targets: Tensor

    def __post_init__(self) -> None:
        assert self.inputs.dtype == torch.float32, self.inputs.dtype
        assert self.targets.dtype in (torch.int64, torch.float32), self.targets.dtype
        assert self.targets.shape == self.inputs.shape[:1], (self.targets.shape, self.inputs.shape)

    def __len__(self) -> int:
        return self.targets.numel()


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Everything a run on images or tables reads.

    Args:
        name: `digits`, `iris`, or the name of the file or folder.
        sha256: Of all samples as read, before normalisation, whatever their order.
        train: Samples to learn from. Every statistic used in normalisation is theirs alone.
        validation: Samples to choose by: early stopping, the best of several arms.
        test: Samples to report on, once. No inputs of one part are in another.
        classes: The name of each class; None for regression.
        features: The name of each column of the inputs; empty for images.
        target: What is predicted, in the words of the source: a column, or "class".
        target_mean: Of the training targets, in the user's units; 0 for classes.
        target_scale: Standard deviation of the training targets in the user's units; 1 for classes.
        split_seed: The seed of the split; not that of a run.
        duplicates: How many samples had the inputs of another one; they share its part.
        notes: What the reader of a result should know, one sentence each: dropped columns, filled
            gaps.
    """

    name: str
    sha256: str
    train: Part
    validation: Part
    test: Part
    classes: tuple[str, ...] | None
    features: tuple[str, ...] = ()
    target: str = "class"
    target_mean: float = 0.0
    target_scale: float = 1.0
    split_seed: int = 0
    duplicates: int = 0
    notes: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W) or (F,)."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def is_regression(self) -> bool:
        """Whether the targets are values, not classes."""
        return self.classes is None

    @property
    def is_image(self) -> bool:
        """Whether the inputs are images, not rows of a table."""
        return self.train.inputs.dim() == 4

    def in_units(self, standardised: Tensor) -> Tensor:
        """Return predicted or true values in the user's units: mean + scale · standardised.

        An error (RMSE, MAE) is a difference, so there `target_scale` alone is the factor.
        """
        return self.target_mean + self.target_scale * standardised

    def describe(self) -> dict[str, object]:
        """Return what a record says about the data, ready for JSON."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        described: dict[str, object] = {
            "name": self.name,
            "sha256": self.sha256,
            "samples": {name: len(part) for name, part in parts.items()},
            "split_seed": self.split_seed,
            "input_shape": list(self.input_shape),
            "features": list(self.features),
            "target": self.target,
            "classes": None if self.classes is None else list(self.classes),
            "duplicates": self.duplicates,
            "notes": list(self.notes),
        }
        if self.classes is None:
            described["target_mean"] = self.target_mean
            described["target_scale"] = self.target_scale
        else:
            described["per_class"] = {
                name: torch.bincount(part.targets, minlength=len(self.classes)).tolist()
                for name, part in parts.items()
            }
        return described


def standardise_targets(
    values: NDArray[np.float64], train: NDArray[np.int64], target: str
) -> tuple[NDArray[np.float32], float, float]:
    """Return ((values − mean) / scale, mean, scale), by mean and deviation of the training part.

    Args:
        values: All targets in the user's units, shape (N,).
        train: Indices of the training part.
        target: The name of the column, for the message.

    Raises:
        UsageError: All training values are the same, so there is nothing to predict.

    >>> standard, mean, scale = standardise_targets(np.array([1.0, 3, 9]), np.array([0, 1]), "y")
    >>> standard.tolist(), mean, scale
    ([-1.0, 1.0, 7.0], 2.0, 1.0)
    """
    mean, scale = float(values[train].mean()), float(values[train].std())
    # a constant column of floats may show a deviation of some rounding errors
    if not scale > 1e-12 * max(1e-300, float(np.abs(values[train]).max())):
        raise UsageError(
            f"The target of a regression must vary; all {len(train)} training values of"
            f" {target!r} are {values[train[0]]}. Name another column as `target`."
        )
    return ((values - mean) / scale).astype(np.float32), mean, scale
