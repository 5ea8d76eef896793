"""Training started from the page: one `redrop train` at a time, in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from redrop.errors import UsageError
from redrop.models.config import DropoutRates, TransformerConfig
from redrop.train.config import TrainConfig

FOLDER = "lab-runs"
LARGEST_STEPS = 5000
SECONDS_TO_STOP = 20.0
DATA = {"reference:25000": "the reference text", "markov:16000": "the generated language"}


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
            asked: {"data", "norm", "rates", "steps", "seed"}; rates by kind of site.

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
    fields = {"data", "norm", "steps", "seed", "rates"}
    if not isinstance(asked, dict) or set(asked) != fields or not isinstance(asked["rates"], dict):
        raise UsageError(f"A run is asked for with exactly {', '.join(sorted(fields))}.")
    if not isinstance(asked["data"], str) or asked["data"] not in DATA:
        raise UsageError(
            f"`data` must be one of {', '.join(DATA)}; got {str(asked['data'])[:60]!r}."
        )
    try:
        rates = DropoutRates(**{site: float(p) for site, p in asked["rates"].items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"`rates` must give a p in [0, 1] to sites; {error}") from error
    model = TransformerConfig(vocab_size=2, norm=asked["norm"])
    steps, seed = asked["steps"], asked["seed"]
    if not isinstance(steps, int) or not 20 <= steps <= LARGEST_STEPS:
        raise UsageError(f"`steps` must lie in 20 to {LARGEST_STEPS}; got {str(steps)[:60]!r}.")
    train = TrainConfig(
        steps=steps, seed=seed, warmup_steps=steps // 20, eval_every=max(5, steps // 30), threads=1
    )
    arm = arm_name(rates)
    settings = {
        "norm": model.norm,
        "steps": train.steps,
        "seed": train.seed,
        "warmup-steps": train.warmup_steps,
        "eval-every": train.eval_every,
        "threads": train.threads,
    }
    options = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    name = re.sub(r"[^\w.+-]", "", arm)[:80]
    return ["train", asked["data"], "--dropout", arm, *options], name


def arm_name(rates: DropoutRates) -> str:
    """Return the name of the arm as `redrop study` and `redrop train` write it.

    >>> arm_name(DropoutRates.everywhere(0.1)), arm_name(DropoutRates())
    ('all-0.1', 'none')
    """
    values = asdict(rates)
    if len(set(values.values())) == 1:
        p = next(iter(values.values()))
        return f"all-{p}" if p else "none"
    return "+".join(f"{site}-{p}" for site, p in values.items() if p)
