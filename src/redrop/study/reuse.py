"""A run that another study has finished is taken over, not computed again."""

import contextlib
import json
import logging
import os
import shutil
from pathlib import Path

import numpy as np

from redrop.disk import sync_folder, write_atomically
from redrop.errors import UsageError
from redrop.study.code import code_digest
from redrop.study.ledger import Ledger
from redrop.study.plan import PlannedRun
from redrop.study.records import RunRecord, canonical_json, read_run
from redrop.study.schema import StudyPlan

_FINAL = "final"
_log = logging.getLogger(__name__)


def take_over(ledger: Ledger, folder: Path, plan: StudyPlan, run: PlannedRun) -> RunRecord | None:
    """Put another study's finished run of the same content into this one, if there is one.

    The record keeps its header as it is: when, where and by which versions it was computed. Only
    where the other study calls the arm by another name is the name changed, and `copied_from` says
    so. Its checkpoint is linked, or copied, if it is still there.

    Returns:
        The other study's record, or None where the run must be computed.
    """
    if _depends_on_others(run):
        return None
    target = folder / "runs" / f"{run.name}.jsonl"
    for path in ledger.finished(run.id):
        if path.absolute() == target.absolute():
            continue
        found = _same_run(path, plan, run)
        if found is None:
            continue
        try:
            _copy_checkpoint(path, folder / "checkpoints" / run.name)
            write_atomically(target, _text(found, run))
        except (OSError, UsageError) as error:
            _log.warning("The finished run `%s` cannot be copied (%s).", path, error)
            return None
        ledger.note(target)
        return found
    return None


def _depends_on_others(run: PlannedRun) -> bool:
    """Say whether code or weights decide the run that no digest covers.

    The user's own model and loaders are such, and a model that rewrites the training text, which
    an augmentation names by a word.
    """
    task, augment = run.config["task"], run.config["augment"]
    is_own = task["kind"] == "module" or task["model"] is not None
    return is_own or any(isinstance(strength, str) for strength in augment.values())


def _same_run(path: Path, plan: StudyPlan, run: PlannedRun) -> RunRecord | None:
    """Return the record if it is whole and says itself that it is this run, of this code."""
    try:
        found = read_run(path)
    except UsageError:  # changed or removed since the ledger saw it
        return None
    header = found.header
    ours = {**plan.versions, "numpy": np.__version__, "code": code_digest()}
    is_same = (
        found.end is not None
        and (header.id, header.seed) == (run.id, run.seed)
        and canonical_json(header.config) == canonical_json(run.config)
        and all(header.versions.get(name) == said for name, said in ours.items())
    )
    return found if is_same else None


def _text(found: RunRecord, run: PlannedRun) -> str:
    text = found.path.read_text(encoding="utf-8")
    if found.header.arm == run.arm.name:
        return text
    first, rest = text.split("\n", 1)
    origin = {"record": found.path.name, "arm": found.header.arm}
    header = {**json.loads(first), "arm": run.arm.name, "copied_from": origin}
    return json.dumps(header) + "\n" + rest


def _copy_checkpoint(record: Path, target: Path) -> None:
    """Link the files of the final checkpoint: they are written once and never changed."""
    source = record.parent.parent / "checkpoints" / record.stem / _FINAL
    if not source.is_dir() or (target / _FINAL).exists():
        return
    scratch = target / f".{_FINAL}.tmp"
    try:
        shutil.rmtree(scratch, ignore_errors=True)  # of a command that was killed here
        scratch.mkdir(parents=True)
        for file in source.iterdir():
            _link_or_copy(file, scratch / file.name)
        sync_folder(scratch)
        scratch.rename(target / _FINAL)
        sync_folder(target)
    except OSError:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _link_or_copy(file: Path, target: Path) -> None:
    with contextlib.suppress(OSError):  # another disk, or one that knows no links
        os.link(file, target)
        return
    shutil.copyfile(file, target)
