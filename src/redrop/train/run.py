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

from redrop.data import Corpus
from redrop.errors import UsageError
from redrop.mask import SPEC_VERSION
from redrop.models.config import TransformerConfig
from redrop.models.transformer import Transformer
from redrop.nn import attach
from redrop.train.checkpoint import FINAL, Snapshot, step_name, write_checkpoint
from redrop.train.config import TrainConfig
from redrop.train.early_stopping import EarlyStopping
from redrop.train.optimizer import build_optimizer, load_optimizer_tensors, optimizer_tensors
from redrop.train.result import Result
from redrop.train.tally import Tally
from redrop.train.weights import get_weights, set_weights


class Run:
    """A model in training.

    Attributes:
        parameters: Of the model, listed once: to walk its modules at each step costs 1 % of it.
        step: Optimizer steps done.
        events: Evaluations so far, oldest first.
        result: How it ended, or None while it goes on.
    """

    def __init__(
        self, model_config: TransformerConfig, train_config: TrainConfig, corpus: Corpus
    ) -> None:
        self.model_config = model_config
        self.config = train_config
        self.corpus = corpus
        self.model = Transformer(model_config, seed=train_config.seed)
        self.parameters = list(self.model.parameters())
        self.masks = attach(self.model, seed=train_config.seed)
        self.optimizer = build_optimizer(self.model, train_config)
        self.stopping = EarlyStopping(train_config.patience, train_config.min_delta)
        self.tally = Tally()
        self.step = 0
        self.events: list[dict[str, Any]] = []
        self.result: Result | None = None
        self._seconds_before = 0.0
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Time spent on the run, over all its sittings."""
        return self._seconds_before + time.perf_counter() - self._began

    def save(self, directory: Path) -> None:
        """Write a checkpoint of this moment.

        Raises:
            UsageError: The disk refuses.
        """
        name = FINAL if self.result else step_name(self.step)
        write_checkpoint(directory, name, self.snapshot())

    def snapshot(self) -> Snapshot:
        """Return everything that `restore` needs."""
        state = {
            **_identity(self.model_config, self.config, self.corpus),
            "tokenizer": self.corpus.tokenizer.to_json(),
            "step": self.step,
            "seconds": self.seconds,
            "early_stopping": self.stopping.to_json(),
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
        return Snapshot(state, tensors)

    def restore(self, snapshot: Snapshot, source: Path) -> None:
        """Go on where the snapshot was taken.

        Raises:
            UsageError: It is of a run with other settings, other data or another mask definition,
                or lacks something.
        """
        state, tensors = snapshot.state, snapshot.tensors
        _refuse_other_run(_identity(self.model_config, self.config, self.corpus), state, source)
        try:
            set_weights(self.model, tensors["weights"])
            load_optimizer_tensors(self.model, self.optimizer, dict(tensors["optimizer"]))
            self.stopping.load_json(state["early_stopping"], dict(tensors["best_weights"]))
            self.tally.load_tensors(dict(tensors["tally"]))
            self.step = state["step"]
            self.events = list(state["events"])
            self.result = Result.from_event(state["result"]) if state["result"] else None
            self._seconds_before = state["seconds"]
            torch.set_rng_state(tensors["generator"]["torch"])
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"A checkpoint must hold a whole run; `{source}` does not: {error}. Remove it to "
                "train from the beginning."
            ) from error


def _identity(
    model_config: TransformerConfig, train_config: TrainConfig, corpus: Corpus
) -> dict[str, Any]:
    return {
        "model": asdict(model_config),
        "train": asdict(train_config),
        "data_sha256": corpus.sha256,
        "spec": SPEC_VERSION,
    }


def _refuse_other_run(own: Mapping[str, Any], stored: Mapping[str, Any], source: Path) -> None:
    ours, theirs = _flat(own), _flat({key: stored.get(key) for key in own})
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
