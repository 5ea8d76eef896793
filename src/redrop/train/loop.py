"""The training loop."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from redrop.regularize.clipping import clip_by_norm, clip_by_value
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from redrop.train.config import TrainConfig
from redrop.train.evaluate import evaluate
from redrop.train.interrupt import Interrupt
from redrop.train.loss import check_objective, objective
from redrop.train.result import Result, Status
from redrop.train.run import Run
from redrop.train.schedule import learning_rate
from redrop.train.task import Batch, Score, Task
from redrop.train.weights import get_weights, set_weights

Observer = Callable[[dict[str, Any]], None]


def train(
    task: Task,
    config: TrainConfig,
    directory: str | Path,
    observe: Observer,
    *,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Train a model, or go on with what a killed run left in the directory, to the same bits.

    Args:
        task: Data, network and loss.
        config: Of the run.
        directory: Of the checkpoints; one run, one directory.
        observe: Called with each record line ("eval", then "end"). A run that goes on repeats the
            lines that it had reached before, so that every observer sees the whole curve.
        progress: Called with the number of steps done, after each step.

    Randomness:
        (seed, step) decide batches and masks, the seed decides the initial weights. The same
        machine, thread count and versions give the same weights and losses, bit for bit. In a
        process group of `torch.distributed` the ranks share each batch, under the same masks; the
        first one alone writes checkpoints and calls `observe` and `progress`.

    Returns:
        How the run ended; a run that has ended already is not trained again.

    Raises:
        UsageError: The settings do not fit the task, the directory holds another run or a damaged
            checkpoint, or the disk refuses.
        KeyboardInterrupt: After a Ctrl-C, with the step finished and a checkpoint written.
    """
    directory = Path(directory)
    check_objective(task, config)
    with _threads(config.threads), Interrupt() as interrupt:
        run = Run(task, config)
        checkpoint = latest_checkpoint(directory)
        run.ranks.wait()  # nobody writes before all have looked
        if checkpoint is not None:
            run.restore(read_checkpoint(checkpoint), checkpoint)
        if not run.ranks.is_first:
            observe, progress = _unheard, None
        for event in run.events:
            observe(event)
        parts = _Parts(run)
        while run.result is None:
            has_agreed = _step(run, interrupt.is_requested)
            if progress:
                progress(run.step)
            status = _evaluate_if_due(run, parts, observe)
            if status is not None:
                run.result = _finish(run, parts, status)
            # Ranks stop together, at the step in which they told each other; one alone stops now.
            is_interrupted = interrupt.is_requested if run.ranks.count == 1 else has_agreed
            if run.result or is_interrupted or _is_due(run, config.checkpoint_every):
                run.save(directory)
            if is_interrupted and run.result is None:
                raise KeyboardInterrupt
        observe(run.result.to_event())
        if interrupt.is_requested:  # in the last step: whoever called must not go on
            raise KeyboardInterrupt
        return run.result


def _unheard(event: dict[str, Any]) -> None:
    """Observe a rank that another one speaks for."""


def _step(run: Run, is_interrupted: bool) -> bool:
    """Take one optimizer step; return whether a rank had been asked to stop before it."""
    config, step, ranks = run.config, run.step, run.ranks
    whole = run.task.batch(seed=config.seed, step=step, batch_size=config.batch_size)
    batch, first, share = ranks.share(whole)
    run.set_step(step, sample_offset=first)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(step, config)
    loss = objective(run.task, run.model, batch, config, run.decayed)
    for site in run.learned.values():
        loss = loss + config.concrete * site.penalty()
    loss = share * loss
    loss.backward()
    asked = torch.tensor(float(is_interrupted))
    loss, asked = ranks.sum_gradients(run.parameters, loss.detach(), asked)
    cut = clip_by_value(run.parameters, config.clip_value) > 0
    norm = clip_by_norm(run.parameters, config.clip_norm)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.tally.add(loss, norm, cut | (norm > (config.clip_norm or math.inf)))
    run.targets += _targets_in(whole, run.task)
    run.step += 1
    run.note_weights()
    return bool(asked)


def _targets_in(batch: Batch, task: Task) -> int:
    """Return how many targets a batch has; a distribution over classes is one."""
    targets = batch.targets
    is_distribution = task.is_classification and targets.is_floating_point()
    return targets[..., 0].numel() if is_distribution else targets.numel()


class _Parts:
    """The batches of all evaluations of a run: cut once, the same every time."""

    def __init__(self, run: Run) -> None:
        limit = run.config.eval_tokens
        self.train = run.task.part("train", limit)
        self.validation = run.task.part("validation", limit)
        self.test = run.task.part("test", limit)


def _evaluate_if_due(run: Run, parts: _Parts, observe: Observer) -> Status | None:
    """Evaluate at the end of a period; return how the run ends, if it ends here."""
    config = run.config
    is_last = run.step == config.steps
    if not (is_last or _is_due(run, config.eval_every)):
        return None
    with _judged_weights(run) as weights:
        fitted = evaluate(run.task, run.model, parts.train, config.precision)
        held_out = evaluate(run.task, run.model, parts.validation, config.precision)
        event = {
            "kind": "eval",
            "step": run.step,
            "train_loss": _finite(run.tally.mean_loss),
            "train_eval_loss": _finite(fitted.loss),
            "validation_loss": _finite(held_out.loss),
            "validation_metrics": _finite_metrics(held_out),
            "learning_rate": run.optimizer.param_groups[0]["lr"],
            "gradient_norm": _finite(run.tally.mean_norm),
            "clipped_share": run.tally.clipped_share,
            "seconds": run.seconds,
        }
        if run.learned:
            event["learned_rates"] = {name: site.p for name, site in run.learned.items()}
        run.events.append(event)
        observe(event)
        if None in event.values():
            return "diverged"
        run.tally.clear()
        run.stopping.update(run.step, held_out.loss, weights)
    if run.stopping.should_stop and not is_last:
        return "stopped early"
    return "done" if is_last else None


def _finish(run: Run, parts: _Parts, status: Status) -> Result:
    stopping = run.stopping
    steps = run.step - len(run.tally) + run.tally.finite_steps
    with _judged_weights(run):
        final = evaluate(run.task, run.model, parts.test, run.config.precision)
    best = None
    if stopping.best_step is not None:
        with _weights(run, stopping.best_weights):
            best = evaluate(run.task, run.model, parts.test, run.config.precision)
    return Result(
        status=status,
        steps=steps,
        best_step=stopping.best_step,
        best_validation_loss=_finite(stopping.best_loss),
        final_validation_loss=run.events[-1]["validation_loss"],
        test_loss_best=_finite(best.loss) if best else None,
        test_loss_final=_finite(final.loss),
        seconds=run.seconds,
        tokens=run.targets,
        test_metrics_best=_finite_metrics(best) if best else {},
        test_metrics_final=_finite_metrics(final),
    )


@contextmanager
def _judged_weights(run: Run) -> Iterator[Mapping[str, torch.Tensor]]:
    """Put the weights in place that are judged and kept: the average, if there is one."""
    weights = run.judged_weights()
    if run.average is None:
        yield weights
        return
    with _weights(run, weights):
        yield weights


@contextmanager
def _weights(run: Run, weights: Mapping[str, torch.Tensor]) -> Iterator[None]:
    last = {name: weight.clone() for name, weight in get_weights(run.model).items()}
    set_weights(run.model, weights)
    try:
        yield
    finally:
        set_weights(run.model, last)


def _is_due(run: Run, every: int) -> bool:
    return every > 0 and run.step % every == 0


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite_metrics(score: Score) -> dict[str, float | None]:
    return {name: _finite(value) for name, value in score.metrics.items()}


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
