"""An average of the weights along a run, often better than the last ones."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from redrop.errors import UsageError


class WeightAverage:
    """Exponential moving average of weights, over few steps at first.

    a ← d_t a + (1 - d_t) w with d_t = min(decay, (1 + t) / (10 + t)), t the number of updates
    before; the first update takes the weights as they are.

    The average reaches back about 1 / (1 - d) steps. Without the warm-up one with decay 0.999 would
    consist of early, bad weights for a thousand steps. With it the average covers about the last
    ninth of the run until `decay` takes over at t = 10 · (decay - 0.1) / (1 - decay); until then it
    is polynomial-decay averaging with η = 8. Dividing by 1 - decay^t, as Adam does for its moments,
    mends the bias too, but then early weights count as much as late ones.

    Args:
        decay: Weight of the past, 0 <= decay < 1; 0 keeps the last weights only.

    Raises:
        UsageError: The decay is out of its range.

    References:
        Polyak, Juditsky: Acceleration of Stochastic Approximation by Averaging, 1992.
        Shamir, Zhang: Stochastic Gradient Descent for Non-smooth Optimization, 2013 (η).
        https://arxiv.org/abs/1212.1824
        The warm-up is that of TensorFlow's ExponentialMovingAverage with `num_updates`.
        https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage

    >>> average = WeightAverage(decay=0.5)
    >>> for value in (1.0, 2.0):
    ...     average.update({"w": torch.tensor([value])})
    >>> average.weights  # t = 1: d = 2 / 11
    {'w': tensor([1.8182])}
    """

    def __init__(self, decay: float) -> None:
        if not 0.0 <= decay < 1.0:
            raise UsageError(
                f"`decay` must lie in [0, 1); got {decay}. Pass 0.999 to average over about a "
                "thousand steps."
            )
        self.decay = decay
        self.updates = 0
        self._weights: dict[str, Tensor] = {}

    @property
    def weights(self) -> dict[str, Tensor]:
        """The average by name, not copied; empty before the first update."""
        return self._weights

    @torch.no_grad()
    def update(self, weights: Mapping[str, Tensor]) -> None:
        """Take note of the weights after a step; one fused pass over all of them.

        Args:
            weights: By name, of floating dtypes; the same names and shapes at every update.

        Raises:
            UsageError: The names are others than at the update before.
        """
        if self.updates == 0:
            self._weights = {name: weight.detach().clone() for name, weight in weights.items()}
        else:
            self._check_names(weights)
            decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
            averages = list(self._weights.values())
            torch._foreach_lerp_(averages, [weights[name] for name in self._weights], 1.0 - decay)
        self.updates += 1

    def to_json(self) -> dict[str, Any]:
        """Return all but the weights, as a checkpoint keeps it."""
        return {"updates": self.updates}

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the average, not copied, as a checkpoint keeps it."""
        return self._weights

    def load(self, stored: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Go on, to the same bits, where `to_json` and `to_tensors` were taken."""
        self.updates = stored["updates"]
        # Cloned: a file's tensors may lie unaligned, and then products could round otherwise.
        self._weights = {name: tensor.clone() for name, tensor in tensors.items()}

    def _check_names(self, weights: Mapping[str, Tensor]) -> None:
        if weights.keys() != self._weights.keys():
            others = sorted(weights.keys() ^ self._weights.keys())
            raise UsageError(
                f"An average takes the same weights at every update; `{others[0]}` is there once "
                "and not the other time. Make a new WeightAverage for another model."
            )
