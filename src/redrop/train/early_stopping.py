"""When to stop, and which weights were the best."""

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor


class EarlyStopping:
    """Keep the weights of the lowest validation loss; say when it has stopped falling.

    The best weights are those of the lowest loss, by whatever little. Patience is stricter: an
    evaluation is in vain unless it beats the last one that was not by more than `min_delta`.

    Args:
        patience: Evaluations in vain, in a row, after which to stop; 0 never stops.
        min_delta: In nats.

    References:
        Prechelt: Early Stopping - But When?, 1998.

    >>> stopping = EarlyStopping(patience=2, min_delta=0.0)
    >>> for step, loss in [(10, 2.0), (20, 1.5), (30, 1.6), (40, 1.5)]:
    ...     stopping.update(step, loss, {})
    >>> stopping.best_step, stopping.should_stop
    (20, True)
    """

    def __init__(self, patience: int, min_delta: float) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self.best_step: int | None = None
        self.best_loss = math.inf
        self.best_weights: dict[str, Tensor] = {}
        self._to_beat = math.inf
        self._in_vain = 0

    @property
    def should_stop(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.patience <= self._in_vain

    def update(self, step: int, loss: float, weights: Mapping[str, Tensor]) -> None:
        """Take note of a validation loss; NaN is never better.

        Args:
            step: Optimizer steps done.
            loss: On validation data, in eval mode.
            weights: At this moment; copied if they are the best.
        """
        if loss < self.best_loss:
            self.best_step, self.best_loss = step, loss
            self.best_weights = {name: weight.clone() for name, weight in weights.items()}
        if loss < self._to_beat - self.min_delta:
            self._to_beat = loss
            self._in_vain = 0
        else:
            self._in_vain += 1

    def to_json(self) -> dict[str, Any]:
        """Return all but the weights; None stands for infinity, which JSON cannot say."""
        return {
            "best_step": self.best_step,
            "best_loss": _finite(self.best_loss),
            "to_beat": _finite(self._to_beat),
            "in_vain": self._in_vain,
        }

    def load_json(self, stored: Mapping[str, Any], best_weights: dict[str, Tensor]) -> None:
        """Go on where `to_json` was written."""
        self.best_step = stored["best_step"]
        self.best_loss = math.inf if stored["best_loss"] is None else stored["best_loss"]
        self.best_weights = best_weights
        self._to_beat = math.inf if stored["to_beat"] is None else stored["to_beat"]
        self._in_vain = stored["in_vain"]


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None
