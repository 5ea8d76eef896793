"""What is minimised, and in which arithmetic it is computed."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from redrop.errors import UsageError
from redrop.regularize.entropy_penalty import mean_entropy
from redrop.regularize.l2 import l2_penalty
from redrop.regularize.r_drop import r_drop_loss
from redrop.train.config import TrainConfig
from redrop.train.task import Batch, Task


def cross_entropy(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy in nats over all positions.

    Args:
        logits: (…, classes).
        targets: (…) of int64, where -100 is left out, or distributions (…, classes).
        label_smoothing: ε: a target becomes (1 − ε) · target + ε / classes.

    References:
        Szegedy et al.: Rethinking the Inception Architecture, 2016 (label smoothing).

    >>> float(cross_entropy(torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)))
    1.3862943649291992
    """
    flat = logits.flatten(0, -2)
    is_distribution = targets.is_floating_point()
    targets = targets.flatten(0, -2) if is_distribution else targets.flatten()
    return F.cross_entropy(flat, targets, label_smoothing=label_smoothing)


def run_model(task: Task, model: nn.Module, batch: Batch, precision: str) -> Tensor:
    """Return the network's outputs as float32.

    Args:
        task: Says how its network is called.
        model: In the mode it is to run in.
        batch: What it reads.
        precision: "bfloat16" runs the model under autocast.
    """
    is_low = precision == "bfloat16"
    with torch.autocast(batch.targets.device.type, dtype=torch.bfloat16, enabled=is_low):
        outputs = task.outputs(model, batch.inputs)
    return outputs.float()


def mean_loss(task: Task, model: nn.Module, batch: Batch, precision: str = "float32") -> Tensor:
    """Return the task's loss on a batch, averaged over all targets, without any penalty."""
    return task.loss(run_model(task, model, batch, precision), batch.targets)


def objective(
    task: Task, model: nn.Module, batch: Batch, config: TrainConfig, decayed: Sequence[Tensor]
) -> Tensor:
    """Return what a training step minimises: the loss and the penalties that are switched on.

    Args:
        task: Of the run.
        model: In training mode; with R-Drop it runs twice, under two masks.
        batch: Of the step.
        config: Label smoothing, R-Drop, entropy penalty and L2.
        decayed: The parameters that L2 pulls, those that weight decay would.
    """
    logits = run_model(task, model, batch, config.precision)
    loss = task.loss(logits, batch.targets, config.label_smoothing)
    if config.r_drop:
        again = run_model(task, model, batch, config.precision)
        loss_again = task.loss(again, batch.targets, config.label_smoothing)
        loss = r_drop_loss(loss, loss_again, logits, again, config.r_drop)
    if config.entropy_penalty:
        loss = loss - config.entropy_penalty * mean_entropy(logits)
    if config.l2:
        loss = loss + config.l2 * l2_penalty(decayed)
    return loss


def check_objective(task: Task, config: TrainConfig) -> None:
    """Refuse penalties on distributions where the network predicts values.

    Raises:
        UsageError: Label smoothing, R-Drop or the entropy penalty for regression.
    """
    if task.is_classification:
        return
    for name in ("label_smoothing", "r_drop", "entropy_penalty"):
        if getattr(config, name):
            raise UsageError(
                f"`{name}` acts on predicted classes; {task.name!r} predicts values. Leave it out."
            )
