"""The training loop."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redrop.data import Corpus, batch
from redrop.errors import UsageError
from redrop.models.config import TransformerConfig
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from redrop.train.config import TrainConfig
from redrop.train.evaluate import evaluate, fixed_windows
from redrop.train.interrupt import Interrupt
from redrop.train.loss import mean_loss
from redrop.train.result import Result, Status
from redrop.train.run import Run
from redrop.train.schedule import learning_rate
from redrop.train.weights import get_weights, set_weights

Observer = Callable[[dict[str, Any]], None]


def train(
    model_config: TransformerConfig,
    train_config: TrainConfig,
    corpus: Corpus,
    directory: str | Path,
    observe: Observer,
    *,
    progress: Callable[[int], None] | None = None,
) -> Result:
    """Train a model, or go on with what a killed run left in the directory, to the same bits.

    Args:
        model_config: Of the model; its vocabulary is the corpus's.
        train_config: Of the run.
        corpus: What to read.
        directory: Of the checkpoints; one run, one directory.
        observe: Called with each record line ("eval", then "end"). A run that goes on repeats the
            lines that it had reached before, so that every observer sees the whole curve.
        progress: Called with the number of steps done, after each step.

    Randomness:
        (seed, step) decide batches and masks, the seed decides the initial weights. The same
        machine, thread count and versions give the same weights and losses, bit for bit.

    Returns:
        How the run ended; a run that has ended already is not trained again.

    Raises:
        UsageError: Corpus and model do not fit, the directory holds another run or a damaged
            checkpoint, or the disk refuses.
        KeyboardInterrupt: After a Ctrl-C, with the step finished and a checkpoint written.
    """
    directory = Path(directory)
    _check(model_config, corpus)
    with _threads(train_config.threads), Interrupt() as interrupt:
        run = Run(model_config, train_config, corpus)
        checkpoint = latest_checkpoint(directory)
        if checkpoint is not None:
            run.restore(read_checkpoint(checkpoint), checkpoint)
        for event in run.events:
            observe(event)
        windows = _Windows(run)
        while run.result is None:
            _step(run)
            if progress:
                progress(run.step)
            status = _evaluate_if_due(run, windows, observe)
            if status is not None:
                run.result = _finish(run, windows, status)
            if run.result or interrupt.is_requested or _is_due(run, train_config.checkpoint_every):
                run.save(directory)
            if interrupt.is_requested and run.result is None:
                raise KeyboardInterrupt
        observe(run.result.to_event())
        if interrupt.is_requested:  # in the last step: whoever called must not go on
            raise KeyboardInterrupt
        return run.result


def _step(run: Run) -> None:
    config, step = run.config, run.step
    run.masks.set_step(step)
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(step, config)
    inputs, targets = batch(
        run.corpus.train,
        seed=config.seed,
        step=step,
        batch_size=config.batch_size,
        context=run.model_config.context,
    )
    loss = mean_loss(run.model, inputs, targets, config.precision)
    loss.backward()
    norm = clip_gradients(run.parameters, config.clip_norm)
    run.optimizer.step()
    run.optimizer.zero_grad(set_to_none=True)
    run.tally.add(loss, norm)
    run.step += 1


def clip_gradients(parameters: Sequence[Tensor], clip_norm: float) -> Tensor:
    """Scale all gradients down to a global norm of `clip_norm` (0: never); return the norm before.

    References:
        Pascanu, Mikolov, Bengio: On the Difficulty of Training Recurrent Neural Networks, 2013.
    """
    return torch.nn.utils.clip_grad_norm_(parameters, clip_norm or math.inf, foreach=True)


class _Windows:
    """The windows of all evaluations of a run: cut once, the same every time."""

    def __init__(self, run: Run) -> None:
        context, limit = run.model_config.context, run.config.eval_tokens
        self.train = fixed_windows(run.corpus.train, context, limit)
        self.validation = fixed_windows(run.corpus.validation, context, limit)
        self.test = fixed_windows(run.corpus.test, context, limit)


def _evaluate_if_due(run: Run, windows: _Windows, observe: Observer) -> Status | None:
    """Evaluate at the end of a period; return how the run ends, if it ends here."""
    config = run.config
    is_last = run.step == config.steps
    if not (is_last or _is_due(run, config.eval_every)):
        return None
    losses = {
        "train_loss": run.tally.mean_loss,
        "train_eval_loss": evaluate(run.model, windows.train, config.precision),
        "validation_loss": evaluate(run.model, windows.validation, config.precision),
    }
    event = {
        "kind": "eval",
        "step": run.step,
        **{name: _finite(loss) for name, loss in losses.items()},
        "learning_rate": run.optimizer.param_groups[0]["lr"],
        "gradient_norm": _finite(run.tally.mean_norm),
        "clipped_share": run.tally.share_above(config.clip_norm or math.inf),
        "seconds": run.seconds,
    }
    run.events.append(event)
    observe(event)
    if None in event.values():
        return "diverged"
    run.tally.clear()
    run.stopping.update(run.step, losses["validation_loss"], get_weights(run.model))
    if run.stopping.should_stop and not is_last:
        return "stopped early"
    return "done" if is_last else None


def _finish(run: Run, windows: _Windows, status: Status) -> Result:
    config, stopping = run.config, run.stopping
    steps = run.step - len(run.tally) + run.tally.finite_steps
    test_final = evaluate(run.model, windows.test, config.precision)
    test_best = None
    if stopping.best_step is not None:
        last = {name: weight.clone() for name, weight in get_weights(run.model).items()}
        set_weights(run.model, stopping.best_weights)
        test_best = evaluate(run.model, windows.test, config.precision)
        set_weights(run.model, last)
    return Result(
        status=status,
        steps=steps,
        best_step=stopping.best_step,
        best_validation_loss=_finite(stopping.best_loss),
        final_validation_loss=run.events[-1]["validation_loss"],
        test_loss_best=test_best,
        test_loss_final=_finite(test_final),
        seconds=run.seconds,
        tokens=run.step * config.batch_size * run.model_config.context,
    )


def _is_due(run: Run, every: int) -> bool:
    return every > 0 and run.step % every == 0


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _check(model_config: TransformerConfig, corpus: Corpus) -> None:
    if model_config.vocab_size != corpus.tokenizer.vocab_size:
        raise UsageError(
            f"A model needs its corpus's vocabulary; `vocab_size` is {model_config.vocab_size} and "
            f"{corpus.name!r} has {corpus.tokenizer.vocab_size} tokens. Pass the latter."
        )
    corpus.check_context(model_config.context)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
