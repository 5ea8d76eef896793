"""The regime card: what can be said of a training run before it, from a handful of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from redrop.errors import UsageError
from redrop.study.amounts import say_amount

if TYPE_CHECKING:  # it brings scipy, which takes longer to load than all of this
    from redrop.study.baseline_regime import Regime

Counted = Literal["tokens", "samples"]

WORTH_OF_REPEATS = 15.39
"""R* of `effective_tokens`: repeats after which a further one is worth 1/e of the first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RegimeCard:
    """A run in numbers. What is not known is None, and so is what follows from it.

    Args:
        unique: Different training tokens or samples; duplicates count once.
        unit: What is counted.
        epochs: How often the run reads them.
        parameters: Of the network.
        batch: Tokens or samples in one optimizer step.
        learning_rate: At its peak.
        weight_decay: Decoupled, as in AdamW.
        is_fine_tuning: Whether it starts from trained weights.
        measured: What a finished baseline showed, where there is one.

    Raises:
        UsageError: A number is not positive.

    >>> card = RegimeCard(unique=10_000_000, epochs=20, parameters=124_000_000)
    >>> card.seen, card.parameters_per_unique
    (200000000.0, 12.4)
    """

    unique: int
    epochs: float
    unit: Counted = "tokens"
    parameters: int | None = None
    batch: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None
    is_fine_tuning: bool = False
    measured: Regime | None = None

    def __post_init__(self) -> None:
        for name in ("unique", "epochs", "parameters", "batch", "learning_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise UsageError(f"`{name}` must be a positive number; got {value}.")
        if self.weight_decay is not None and not 0 <= self.weight_decay < math.inf:
            raise UsageError(f"`weight_decay` must be at least 0; got {self.weight_decay}.")

    @property
    def seen(self) -> float:
        """Tokens or samples that the run reads, repeats counted."""
        return float(self.unique * self.epochs)

    @property
    def parameters_per_unique(self) -> float | None:
        """Parameters per different token or sample."""
        return None if self.parameters is None else self.parameters / self.unique

    @property
    def steps_per_epoch(self) -> float | None:
        """Optimizer steps of one epoch."""
        return None if self.batch is None else self.unique / self.batch

    @property
    def effective(self) -> float | None:
        """Fresh tokens that the tokens read are worth; only known for text."""
        return effective_tokens(self.unique, self.epochs) if self.unit == "tokens" else None

    @property
    def decay_epochs(self) -> float | None:
        """The timescale of weight decay in epochs, infinite without decay.

            tau = 1 / (learning rate * weight decay * steps per epoch)

        AdamW's weights are a moving average of its updates over this time, if the learning rate
        stays at its peak; along a schedule that falls, the true one is longer.

        References:
            Wang, Aitchison: How to set AdamW's weight decay as you scale model and dataset size,
            2024. https://arxiv.org/abs/2405.13698
        """
        if self.steps_per_epoch is None or self.learning_rate is None or self.weight_decay is None:
            return None
        if self.weight_decay == 0:
            return math.inf
        return 1 / (self.learning_rate * self.weight_decay * self.steps_per_epoch)

    def rows(self) -> tuple[tuple[str, str, str], ...]:
        """Return (what, how much, what it means) for each figure that is known."""
        one = self.unit[:-1]
        rows = [
            (f"{self.unit.capitalize()}, unique", say_amount(self.unique), ""),
            ("Epochs", f"{self.epochs:,.4g}", f"{say_amount(self.seen)} {self.unit} read in all"),
        ]
        if self.parameters is not None and self.parameters_per_unique is not None:
            ratio = say_amount(self.parameters_per_unique)
            rows.append(("Parameters", say_amount(self.parameters), f"{ratio} per unique {one}"))
        if self.effective is not None:
            rows.append(("Worth of repeats", *self._say_worth(self.effective)))
        if self.steps_per_epoch is not None:
            steps = say_amount(self.steps_per_epoch * self.epochs)
            rows.append(("Steps", steps, f"{say_amount(self.steps_per_epoch)} per epoch"))
        if self.decay_epochs is not None:
            rows.append(("Timescale of weight decay", *self._say_decay(self.decay_epochs)))
        if self.is_fine_tuning:
            rows.append(("Phase", "fine-tuning", "starts from trained weights"))
        return (*rows, *self._measured_rows())

    def _say_worth(self, effective: float) -> tuple[str, str]:
        share = effective / self.seen
        return (
            f"{say_amount(effective)} tokens",
            f"fresh ones would do as much: {100 * share:.0f} % of those read",
        )

    def _say_decay(self, tau: float) -> tuple[str, str]:
        if math.isinf(tau):
            return "∞", "no weight decay"
        share = tau / self.epochs
        meaning = f"{say_amount(share)} times the run, at the peak learning rate"
        if share > 1:
            meaning += ": longer than the run, so it hardly acts"
        elif tau < 1:
            meaning += ": less than an epoch, so weights forget what they saw in it"
        return f"{say_amount(tau)} epochs", meaning

    def _measured_rows(self) -> list[tuple[str, str, str]]:
        found, rows = self.measured, []
        if found is None or found.state is None:
            return []
        if found.best_step is not None and found.steps:
            place = f"best at step {found.best_step:,} of {found.steps:,}"
            if found.epochs is not None and found.state == "passed its minimum":
                place += f", after {found.epochs * found.best_step / found.steps:.3g} epochs"
            rows.append(("Baseline, measured", found.state, place))
        if found.gap_at_best is not None:
            rows.append(("Gap, measured", f"{found.gap_at_best:.3f}", "at its best checkpoint"))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return the card for machines; an infinite timescale is null."""
        tau = self.decay_epochs
        return {
            "unit": self.unit,
            "unique": self.unique,
            "epochs": self.epochs,
            "seen": self.seen,
            "parameters": self.parameters,
            "parameters_per_unique": self.parameters_per_unique,
            "effective": self.effective,
            "batch": self.batch,
            "steps_per_epoch": self.steps_per_epoch,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "decay_epochs": None if tau is None or math.isinf(tau) else tau,
            "is_fine_tuning": self.is_fine_tuning,
            "baseline_state": None if self.measured is None else self.measured.state,
            "baseline_best_step": None if self.measured is None else self.measured.best_step,
            "baseline_gap": None if self.measured is None else self.measured.gap_at_best,
        }


def effective_tokens(unique: float, epochs: float) -> float:
    """Return how many fresh tokens repeated ones are worth.

        D' = U + U R* (1 - exp(-(E - 1) / R*)),  R* = 15.39

    Args:
        unique: U, different tokens.
        epochs: E, how often they are read; a part of one epoch is all fresh.

    References:
        Muennighoff et al.: Scaling Data-Constrained Language Models, 2023.
        https://arxiv.org/abs/2305.16264

    >>> [round(effective_tokens(1.0, epochs), 2) for epochs in (0.5, 1, 4, 16, 1000)]
    [0.5, 1.0, 3.73, 10.58, 16.39]
    """
    if epochs <= 1:
        return unique * epochs
    worth = WORTH_OF_REPEATS * -math.expm1(-(epochs - 1) / WORTH_OF_REPEATS)
    return unique * (1 + worth)
