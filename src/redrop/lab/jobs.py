"""Training started from the page: one `redrop train` at a time, in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from redrop.errors import UsageError
from redrop.models.config import DropoutRates, MLPConfig, TransformerConfig
from redrop.tasks.configure import ELEMENTWISE
from redrop.train.config import TrainConfig
from redrop.train.recipes import RECIPES

FOLDER = "lab-runs"
LARGEST_STEPS = 5000
SECONDS_TO_STOP = 20.0
DATA = {"reference:25000": "the reference text", "markov:16000": "the generated language"}
TASKS = ("digits", "table")
"""What a network for vectors learns, as `redrop train --task` names it."""

_COMMON = {"steps", "seed", "rates"}


class Trainer:
    """Starts and stops the runs of the page; at most one is alive.

    Args:
        root: Runs are written to `<root>/lab-runs/<name>`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._process: subprocess.Popen[bytes] | None = None
        self._study = ""
        self._log: Path | None = None

    def start(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Start a run.

        Args:
            asked: {"data", "norm", "rates", "steps", "seed"} for a transformer, or with "network"
                and "task" in place of the first two for a network of vectors; rates by kind.

        Raises:
            UsageError: Another run is alive, or a setting is refused.
        """
        if self.is_running:
            raise UsageError("One run at a time: stop the one that is running first.")
        command, name = command_for(asked)
        folder = self.root / FOLDER / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
        folder.mkdir(parents=True)
        self._log = folder / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "redrop", *command, "--out", str(folder)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in the terminal is ours to pass on
                env={**os.environ, "NO_COLOR": "1"},
            )
        self._study = f"{FOLDER}:{folder.name}"
        return self.status()

    def stop(self) -> dict[str, Any]:
        """Ask the run to write its checkpoint and end; end it if it does not."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(SECONDS_TO_STOP)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        return self.status()

    @property
    def is_running(self) -> bool:
        """Whether a run is alive."""
        return self._process is not None and self._process.poll() is None

    def status(self) -> dict[str, Any]:
        """Return what the page shows: whether a run is alive, its study, and why it failed."""
        failed = not self.is_running and self._process is not None and self._process.returncode
        has_crashed = bool(failed) and self._process and self._process.returncode not in (130, -2)
        return {
            "is_running": self.is_running,
            "study": self._study,
            "failure": self._last_line() if has_crashed else "",
        }

    def _last_line(self) -> str:
        assert self._log is not None
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return lines[-1][:400] if lines else "The run ended without a word."


def command_for(asked: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the arguments of `redrop` for the settings of the page, and a name for the run.

    Every value passes through the configuration it belongs to, so a request can only ask for what
    the command line would accept; no text of the request reaches the command as it came.

    Raises:
        UsageError: A setting is missing, unknown, or refused.

    >>> command, name = command_for({"data": "markov:16000", "norm": "post", "steps": 60, "seed": 1,
    ...                              "rates": {"embedding": 0.1}})
    >>> name, command[:4]
    ('embedding-0.1', ['train', 'markov:16000', '--dropout', 'embedding-0.1'])
    """
    is_dict = isinstance(asked, dict)
    what = {"network", "task"} if is_dict and "network" in asked else {"data", "norm"}
    if not is_dict or set(asked) != what | _COMMON or not isinstance(asked["rates"], dict):
        raise UsageError(f"A run is asked for with exactly {', '.join(sorted(what | _COMMON))}.")
    try:
        rates = DropoutRates(**{kind: float(p) for kind, p in asked["rates"].items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"`rates` must give a p in [0, 1] to sites; {error}") from error
    arm, options = (_of_vectors if "network" in what else _of_text)(asked, rates)
    steps, seed = asked["steps"], asked["seed"]
    if not isinstance(steps, int) or not 20 <= steps <= LARGEST_STEPS:
        raise UsageError(f"`steps` must lie in 20 to {LARGEST_STEPS}; got {str(steps)[:60]!r}.")
    train = TrainConfig(
        steps=steps, seed=seed, warmup_steps=steps // 20, eval_every=max(5, steps // 30), threads=1
    )
    settings = {
        "steps": train.steps,
        "seed": train.seed,
        "warmup-steps": train.warmup_steps,
        "eval-every": train.eval_every,
        "threads": train.threads,
    }
    length = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    name = re.sub(r"[^\w.+-]", "", arm)[:80]
    return ["train", *options, *length], name


def _of_text(asked: Mapping[str, Any], rates: DropoutRates) -> tuple[str, list[str]]:
    if not isinstance(asked["data"], str) or asked["data"] not in DATA:
        raise UsageError(
            f"`data` must be one of {', '.join(DATA)}; got {str(asked['data'])[:60]!r}."
        )
    model = TransformerConfig(vocab_size=2, norm=asked["norm"], dropout=rates)
    arm = recipe_name(model)
    return arm, [asked["data"], "--dropout", arm, "--norm", model.norm]


def _of_vectors(asked: Mapping[str, Any], rates: DropoutRates) -> tuple[str, list[str]]:
    if asked["task"] not in TASKS:
        raise UsageError(
            f"`task` must be one of {', '.join(TASKS)}; got {str(asked['task'])[:60]!r}."
        )
    model = MLPConfig(features=1, outputs=1, network=asked["network"], dropout=rates)
    arm = recipe_name(model)
    return arm, ["--task", asked["task"], "--network", "mlp", "--recipe", arm]


def recipe_name(model: TransformerConfig | MLPConfig) -> str:
    """Return the recipe that gives a network its rates, as `redrop study` and `train` write it.

    >>> recipe_name(TransformerConfig(vocab_size=2, dropout=DropoutRates.everywhere(0.1)))
    'all-0.1'
    >>> rates = DropoutRates(pre_activation=0.5, feed_forward_hidden=0.25)
    >>> recipe_name(MLPConfig(features=1, outputs=1, network="old", dropout=rates))
    'old+feed_forward_hidden-0.25'
    """
    manner = [model.network] if isinstance(model, MLPConfig) else []
    known = dict(RECIPES[manner[0]].dropout) if manner else {}
    rates = {kind: getattr(model.dropout, kind) for kind in model.kinds}
    single = [kind for kind in model.kinds if kind in ELEMENTWISE]
    told, p = [], rates[single[0]]
    if p and all(rates[kind] == p for kind in single):
        told = [f"all-{p}"]
        known |= dict.fromkeys(single, p)
    told += [f"{kind}-{p}" for kind, p in rates.items() if p != known.get(kind, 0.0)]
    return "+".join([*manner, *told]) or "none"
