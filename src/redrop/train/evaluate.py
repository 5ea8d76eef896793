"""Loss and metrics on given batches, with dropout off unless it is asked for."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from torch import nn

from redrop.models.mode import eval_mode
from redrop.train.loss import run_model
from redrop.train.task import Batch, Score, Task


def evaluate(
    task: Task,
    model: nn.Module,
    batches: Sequence[Batch],
    precision: str = "float32",
    *,
    mode: Callable[[nn.Module], AbstractContextManager[None]] = eval_mode,
) -> Score:
    """Return loss and metrics; the model runs in eval mode and has its mode back.

    Measured in bfloat16, the loss of a trained model differs by about 1e-4 nats from float32.

    Args:
        task: Says what loss and metrics are.
        model: To be judged.
        batches: Of one part of the data; each counts by its number of targets.
        precision: "bfloat16" runs the model under autocast.
        mode: In which the model runs; `redrop.nn.mc_dropout.dropout_on` leaves dropout on.

    Returns:
        NaN and no metric where there is no batch: a task without test data has none to report.
    """
    if not batches:
        return Score(math.nan, {})
    total, count = 0.0, 0
    scorer = task.scorer()
    with mode(model):
        for batch in batches:
            outputs = run_model(task, model, batch, precision)
            total += task.loss(outputs, batch.targets).item() * batch.targets.numel()
            count += batch.targets.numel()
            scorer.add(outputs, batch.targets)
    return Score(total / count, scorer.results())
