"""The part of a study that runs on the nodes of a Ray cluster.

Nodes need not share a disk with the driver, so a run trains in a temporary folder of its node, and
everything that must outlive the node goes to the mailbox beside the driver: each line of the record
and each checkpoint. They count as sent when the mailbox has them, so a node that dies takes no
more with it than the steps since its last checkpoint.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redrop
from redrop.errors import UsageError
from redrop.study.plan import PlannedRun
from redrop.study.ray_mailbox import Letter, Saved
from redrop.study.run import describe_run, tell_steps, torch_version
from redrop.study.schema import StudyPlan
from redrop.tasks.load import AnyTask
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint, write_checkpoint
from redrop.train.loop import train
from redrop.train.memory import keep_memory

SECONDS_BETWEEN_STEPS_TOLD = 1.0
"""Of one run; all runs of a cluster tell them to one mailbox."""


def read_saved(directory: Path) -> Saved | None:
    """Return the newest checkpoint of a run as it lies on this disk, or None where it has none.

    Raises:
        UsageError: It is damaged.
    """
    folder = latest_checkpoint(directory)
    if folder is None:
        return None
    read_checkpoint(folder)  # damage is told where it lies, not where it would be sent
    return Saved(folder.name, {file.name: file.read_bytes() for file in folder.iterdir()})


def write_saved(saved: Saved, directory: Path) -> None:
    """Make a checkpoint from another machine the newest one of a run.

    Raises:
        UsageError: It was damaged on its way, or the disk refuses.
    """
    with TemporaryDirectory(prefix="redrop-") as scratch:
        for name, content in saved.files.items():
            (Path(scratch) / name).write_bytes(content)
        snapshot = read_checkpoint(Path(scratch))
    write_checkpoint(directory, saved.name, snapshot)


def train_run(
    mailbox: Any, attempt: int, task: AnyTask, plan: StudyPlan, run: PlannedRun, saved: Saved | None
) -> bool:
    """Train one run on this node, or go on with it, and post what happens.

    Args:
        mailbox: Handle of the driver's `Mailbox`.
        attempt: Number of this attempt at the run.
        task: Of the study, without any recipe.
        plan: Of the study.
        run: One of its runs.
        saved: Newest checkpoint of the attempts before.

    Returns:
        Whether the run has ended; one that was interrupted has not, and has posted a checkpoint.

    Raises:
        UsageError: This node has other versions than the study, or a full disk.
    """
    _check_versions(plan)
    keep_memory()
    with TemporaryDirectory(prefix="redrop-") as folder:
        directory = Path(folder)
        if saved is not None:
            write_saved(saved, directory)
        reporter = _Reporter(mailbox, run, attempt, directory, saved and saved.name)
        try:
            reporter.post({"kind": "run", **describe_run(plan, run)})
            train(
                task.with_recipe(run.arm, run.seed),
                run.train,
                directory,
                reporter.observe,
                progress=reporter.progress,
            )
        except KeyboardInterrupt:
            reporter.post_checkpoint()
            return False
    return True


class _Reporter:
    """Posts what happens in an attempt at a run."""

    def __init__(
        self, mailbox: Any, run: PlannedRun, attempt: int, directory: Path, posted: str | None
    ) -> None:
        self._mailbox = mailbox
        self._run = run
        self._attempt = attempt
        self._directory = directory
        self._posted = posted
        self._tell_step = tell_steps(SECONDS_BETWEEN_STEPS_TOLD, self._send)

    def observe(self, event: Mapping[str, Any]) -> None:
        """Post a line of the record; whoever reads the end of a run finds its last checkpoint."""
        if event["kind"] == "end":
            self.post_checkpoint()
        self.post(event)

    def progress(self, step: int) -> None:
        """Post the checkpoint of the step before, if there is one, and now and then the step."""
        self.post_checkpoint()
        self._tell_step(step)

    def post_checkpoint(self) -> None:
        """Post the newest checkpoint unless the driver has it."""
        newest = latest_checkpoint(self._directory)
        if newest is not None and newest.name != self._posted:
            self.post({"kind": "checkpoint", "saved": read_saved(self._directory)})
            self._posted = newest.name

    def post(self, event: Mapping[str, Any]) -> None:
        """Post an event, and return when the mailbox has it: an actor may reorder what waits."""
        # To wait with ray.get would give the core of this run away in the meantime.
        self._send(event).future().result()

    def _send(self, event: Mapping[str, Any]) -> Any:
        return self._mailbox.post.remote(Letter(self._run.name, self._attempt, event))


def _check_versions(plan: StudyPlan) -> None:
    own = {"redrop": redrop.__version__, "spec": redrop.SPEC_VERSION, "torch": torch_version()}
    for name, version in own.items():
        if version != plan.versions[name]:
            raise UsageError(
                f"All runs of a study need the same versions; node `{platform.node()}` has {name} "
                f"{version}, the study {plan.versions[name]}. Install that on every node."
            )
