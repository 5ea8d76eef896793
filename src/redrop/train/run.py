"""Everything that a training step changes, and how it is saved and put back.

Batches and masks are pure functions of (seed, step), so no position in a data set and no generator
has to be remembered for them. torch's default generator is saved too: an attached model draws
tickets from it, which name no mask but let a recomputation find one.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask import SPEC_VERSION
from redrop.nn import SiteModule, attach
from redrop.nn.concrete_dropout import learn_rates
from redrop.nn.rates import Rates
from redrop.nn.state import RunState
from redrop.regularize.dropout_schedule import parse_dropout_schedule
from redrop.regularize.weight_average import WeightAverage
from redrop.train.checkpoint import FINAL, Snapshot, step_name, write_checkpoint
from redrop.train.config import LATER, TrainConfig
from redrop.train.early_stopping import EarlyStopping
from redrop.train.optimizer import (
    build_optimizer,
    decayed_parameters,
    load_optimizer_tensors,
    optimizer_tensors,
)
from redrop.train.ranks import current_ranks
from redrop.train.result import Result
from redrop.train.tally import Tally
from redrop.train.task import Task
from redrop.train.weights import get_weights, set_weights


class Run:
    """A model in training.

    Attributes:
        ranks: The place of this process among those that share the run.
        parameters: Of the model, listed once: to walk its modules at each step costs 1 % of it.
        decayed: Those of them that weight decay and L2 pull.
        learned: The sites whose rates are learned, by qualified name.
        masks: The state that the model's dropout sites share, or None if it has no site.
        average: Moving average of the weights, if the run keeps one.
        step: Optimizer steps done.
        targets: Read in training so far.
        events: Evaluations so far, oldest first.
        result: How it ended, or None while it goes on.
    """

    def __init__(self, task: Task, config: TrainConfig) -> None:
        self.task = task
        self.config = config
        self.ranks = current_ranks()
        self.model = task.build(config.seed)
        self.learned = learn_rates(self.model) if config.concrete else {}
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.decayed = decayed_parameters(self.model)
        self.masks = _attach(self.model, config.seed)
        self.optimizer = build_optimizer(self.model, config)
        self.stopping = EarlyStopping(config.patience, config.min_delta)
        self.average = WeightAverage(config.ema) if config.ema else None
        self.tally = Tally()
        self.step = 0
        self.targets = 0
        self.events: list[dict[str, Any]] = []
        self.result: Result | None = None
        self._rates = Rates(self.model)
        self._dropout_schedule = parse_dropout_schedule(config.dropout_schedule)
        self._seconds_before = 0.0
        self._began = time.perf_counter()

    def set_step(self, step: int, *, sample_offset: int = 0) -> None:
        """Give the sites the masks and the rates of a step, for samples from the offset on."""
        if self.masks is not None:
            self.masks.set_step(step, sample_offset=sample_offset)
            self._rates.scale(self._dropout_schedule.factor(step, self.config.steps))

    @property
    def seconds(self) -> float:
        """Time spent on the run, over all its sittings."""
        return self._seconds_before + time.perf_counter() - self._began

    def note_weights(self) -> None:
        """Let the average, if there is one, take note of the weights after a step."""
        if self.average is not None:
            self.average.update(_averaged(get_weights(self.model)))

    def judged_weights(self) -> dict[str, Tensor]:
        """Return the weights that are evaluated and kept: the average, or the last ones."""
        return get_weights(self.model) | (self.average.weights if self.average else {})

    def save(self, directory: Path) -> None:
        """Write a checkpoint of this moment; of several ranks, the first one does.

        Raises:
            UsageError: The disk refuses.
        """
        name = FINAL if self.result else step_name(self.step)
        if self.ranks.is_first:
            write_checkpoint(directory, name, self.snapshot())

    def snapshot(self) -> Snapshot:
        """Return everything that `restore` needs."""
        state = {
            **_identity(self.task, self.config),
            **self.task.state(),
            "step": self.step,
            "targets": self.targets,
            "seconds": self.seconds,
            "early_stopping": self.stopping.to_json(),
            "average": self.average.to_json() if self.average else None,
            "events": self.events,
            "result": self.result.to_event() if self.result else None,
        }
        tensors = {
            "weights": get_weights(self.model),
            "best_weights": self.stopping.best_weights,
            "optimizer": optimizer_tensors(self.model, self.optimizer),
            "tally": self.tally.to_tensors(),
            "generator": {"torch": torch.get_rng_state()},
        }
        if self.average is not None:
            tensors["average"] = self.average.to_tensors()
        return Snapshot(state, tensors)

    def restore(self, snapshot: Snapshot, source: Path) -> None:
        """Go on where the snapshot was taken.

        Raises:
            UsageError: It is of a run with other settings, other data or another mask definition,
                or lacks something.
        """
        state, tensors = snapshot.state, snapshot.tensors
        _refuse_other_run(_identity(self.task, self.config), state, source)
        try:
            set_weights(self.model, tensors["weights"])
            load_optimizer_tensors(self.model, self.optimizer, dict(tensors["optimizer"]))
            self.stopping.load_json(state["early_stopping"], dict(tensors["best_weights"]))
            self.tally.load_tensors(dict(tensors["tally"]))
            if self.average is not None:
                self.average.load(state["average"], dict(tensors["average"]))
            self.step = state["step"]
            self.targets = state["targets"]
            self.events = list(state["events"])
            self.result = Result.from_event(state["result"]) if state["result"] else None
            self._seconds_before = state["seconds"]
            torch.set_rng_state(tensors["generator"]["torch"])
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"A checkpoint must hold a whole run; `{source}` does not: {error}. Remove it to "
                "train from the beginning."
            ) from error


def _averaged(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A counter, such as the batches that a normalization has seen, has no average."""
    return {name: weight for name, weight in weights.items() if weight.is_floating_point()}


def _attach(model: torch.nn.Module, seed: int) -> RunState | None:
    has_site = any(isinstance(module, SiteModule) for module in model.modules())
    return attach(model, seed=seed) if has_site else None


def _identity(task: Task, config: TrainConfig) -> dict[str, Any]:
    return {
        **task.settings(),
        "train": asdict(config),
        "data_sha256": task.sha256,
        "spec": SPEC_VERSION,
    }


def _refuse_other_run(own: Mapping[str, Any], stored: Mapping[str, Any], source: Path) -> None:
    ours, theirs = _flat(own), _flat({key: stored.get(key) for key in own})
    for name, before in LATER.items():  # a checkpoint of before that setting was trained so
        theirs.setdefault(f"train.{name}", before)
    for name in sorted(ours.keys() | theirs.keys()):
        if ours.get(name) != theirs.get(name):
            raise UsageError(
                f"A run goes on with the settings it began with; `{source}` has {name} = "
                f"{theirs.get(name)!r}, asked for was {ours.get(name)!r}. Use another directory."
            )


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat
