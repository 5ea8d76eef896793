"""Which arithmetic is faster here: float32, or bfloat16 under autocast."""

import copy
import time
from typing import Literal

from torch import Tensor

from redrop.models.transformer import Transformer
from redrop.train.loss import mean_loss

Precision = Literal["float32", "bfloat16"]
ROUNDS = 5


def fastest_precision(model: Transformer, batch: tuple[Tensor, Tensor]) -> Precision:
    """Return the precision whose forward and backward pass is faster on this machine."""
    seconds = measure_precisions(model, batch)
    return min(seconds, key=lambda precision: seconds[precision])


def measure_precisions(model: Transformer, batch: tuple[Tensor, Tensor]) -> dict[Precision, float]:
    """Return the seconds of a forward and backward pass in each precision, the best of a few.

    The two take turns, so that a busy machine slows both. A copy of the model runs: weights,
    gradients and masks of the model stay as they are.

    Args:
        model: Of the size and in the mode to be measured.
        batch: (inputs, targets) of the size to be trained on.
    """
    twin = copy.deepcopy(model)
    seconds: dict[Precision, float] = {"float32": float("inf"), "bfloat16": float("inf")}
    for _ in range(ROUNDS):
        for precision in seconds:
            began = time.perf_counter()
            mean_loss(twin, *batch, precision).backward()
            seconds[precision] = min(seconds[precision], time.perf_counter() - began)
    return seconds
