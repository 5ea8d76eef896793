"""What the loop asks of a task: data, network, loss and metrics, fixed before the first step."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor, nn

PartName = Literal["train", "validation", "test"]


@dataclass(frozen=True, slots=True)
class Batch:
    """What a network reads, and what it should say.

    Args:
        inputs: A tensor, samples first, or a mapping of names to such tensors, or a list of them.
        targets: Classes (int64), distributions over them (float, one dimension more), or values.
    """

    inputs: Any
    targets: Tensor

    def __len__(self) -> int:
        return len(self.targets)

    def rows(self, first: int, last: int) -> "Batch":
        """Return samples `first` to `last`, the part of one rank.

        >>> import torch
        >>> batch = Batch({"ids": torch.arange(4)}, torch.arange(4))
        >>> batch.rows(2, 4).inputs
        {'ids': tensor([2, 3])}
        """
        if isinstance(self.inputs, Mapping):
            inputs: Any = {name: value[first:last] for name, value in self.inputs.items()}
        elif isinstance(self.inputs, (list, tuple)):
            inputs = [value[first:last] for value in self.inputs]
        else:
            inputs = self.inputs[first:last]
        return Batch(inputs, self.targets[first:last])


class Scorer(Protocol):
    """Collects outputs in eval mode and turns them into the metrics that people expect."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take note of one batch."""

    def results(self) -> dict[str, float]:
        """Return the metrics by name."""


class Task(Protocol):
    """What is learned from what. Implementations: `redrop.tasks`.

    Attributes:
        name: For titles; the name of the data is usual.
        sha256: Of the data.
        unit: Of the loss: "nats per token", "nats".
        is_classification: Whether outputs are logits; penalties on distributions need them.
    """

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102
    @property
    def unit(self) -> str: ...  # noqa: D102
    @property
    def is_classification(self) -> bool: ...  # noqa: D102

    def settings(self) -> dict[str, Any]:
        """Return {"model": …, "augment": …} as JSON: with the data, all that decides a run."""

    def state(self) -> dict[str, Any]:
        """Return as JSON what a user of the trained network needs besides: a tokenizer."""

    def build(self, seed: int) -> nn.Module:
        """Return the network with the initial weights of a seed; it leaves torch's generator."""

    def batch(self, *, seed: int, step: int, batch_size: int) -> Batch:
        """Return the training batch of a step, augmented; a pure function of its arguments."""

    def part(self, name: PartName, limit: int) -> Sequence[Batch]:
        """Return at most `limit` targets of a part, the same ones at every call, not augmented."""

    def outputs(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return the network's logits or values."""

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean loss over all targets."""

    def scorer(self) -> Scorer:
        """Return an empty scorer."""


@dataclass(frozen=True, slots=True)
class Score:
    """What an evaluation found."""

    loss: float
    metrics: Mapping[str, float]
