"""Which arithmetic is faster here: float32, or bfloat16 under autocast."""

import copy
import time
from typing import Literal

from torch import nn

from redrop.train.loss import mean_loss
from redrop.train.task import Batch, Task

Precision = Literal["float32", "bfloat16"]
ROUNDS = 5


def fastest_precision(task: Task, model: nn.Module, batch: Batch) -> Precision:
    """Return the precision whose forward and backward pass is faster on this machine."""
    seconds = measure_precisions(task, model, batch)
    return min(seconds, key=lambda precision: seconds[precision])


def measure_precisions(task: Task, model: nn.Module, batch: Batch) -> dict[Precision, float]:
    """Return the seconds of a forward and backward pass in each precision, the best of a few.

    The two take turns, so that a busy machine slows both. A copy of the model runs: weights,
    gradients and masks of the model stay as they are.

    Args:
        task: Says how its network is called.
        model: Of the size and in the mode to be measured.
        batch: Of the size to be trained on.
    """
    twin = copy.deepcopy(model)
    seconds: dict[Precision, float] = {"float32": float("inf"), "bfloat16": float("inf")}
    for _ in range(ROUNDS):
        for precision in seconds:
            began = time.perf_counter()
            mean_loss(task, twin, batch, precision).backward()
            seconds[precision] = min(seconds[precision], time.perf_counter() - began)
    return seconds
