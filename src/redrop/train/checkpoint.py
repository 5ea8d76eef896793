"""Checkpoints on disk: a folder of safetensors files and one JSON file, or nothing at all.

A folder `step-00000400` (or `final`) holds `state.json` and one safetensors file for each group of
tensors. It is written under another name, every file is flushed to the disk, and only then is it
renamed, which happens as a whole or not at all; older folders are removed afterwards. So whenever
the process or the machine dies, the newest folder is complete. `state.json` holds the SHA-256 of
the other files, so that damage is noticed and not trained on. No pickle: reading runs no code.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from redrop.disk import disk_error, sync_folder, write_through
from redrop.errors import UsageError

FORMAT = "redrop checkpoint 1"
FINAL = "final"
_STATE = "state.json"
_SUFFIX = ".safetensors"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a training run needs to go on, apart from its code and data.

    Args:
        state: JSON values.
        tensors: Named groups of tensors; a tied weight stands in a group once.
    """

    state: Mapping[str, Any]
    tensors: Mapping[str, Mapping[str, Tensor]]


def step_name(step: int) -> str:
    """Return the name of the folder of a run that has done `step` steps and goes on."""
    return f"step-{step:08d}"


def write_checkpoint(directory: Path, name: str, snapshot: Snapshot) -> None:
    """Write a snapshot, then remove what is older.

    Raises:
        UsageError: The disk is full or the folder cannot be written; the old one is still there.
    """
    scratch = directory / f".{name}.tmp"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed here
        scratch.mkdir()
        digests = {}
        for group, tensors in snapshot.tensors.items():
            content = safetensors.torch.save(dict(tensors))
            digests[group] = hashlib.sha256(content).hexdigest()
            write_through(scratch / f"{group}{_SUFFIX}", content)
        state = {"format": FORMAT, "files": digests, **snapshot.state}
        write_through(scratch / _STATE, json.dumps(state, indent=1, allow_nan=False).encode())
        sync_folder(scratch)
        if (directory / name).exists():  # the same step of the same run: the same content
            shutil.rmtree(scratch)
        else:
            scratch.rename(directory / name)
        sync_folder(directory)
    except OSError as error:
        shutil.rmtree(scratch, ignore_errors=True)
        kept = "The checkpoint before it is still there; the same command goes on."
        raise disk_error(error, directory, kept) from error
    for old in _checkpoints(directory):
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def latest_checkpoint(directory: Path) -> Path | None:
    """Return the newest complete checkpoint of a run's directory, or None where there is none."""
    return max(_checkpoints(directory), key=_age, default=None)


def read_checkpoint(folder: Path) -> Snapshot:
    """Read what `write_checkpoint` wrote.

    Raises:
        UsageError: A file is missing, damaged, cut, or not of a checkpoint.
    """
    try:
        state = json.loads((folder / _STATE).read_bytes())
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise _damaged(folder, f"`{_STATE}` does not say {FORMAT!r}")
        files = state.pop("files", None)
        if not isinstance(files, dict):
            raise _damaged(folder, f"`{_STATE}` names no files")
        tensors = {group: _read(folder, group, digest) for group, digest in files.items()}
    except OSError as error:
        raise _damaged(folder, f"`{error.filename}` cannot be read: {error.strerror}") from error
    except ValueError as error:
        if isinstance(error, UsageError):
            raise
        raise _damaged(folder, f"`{_STATE}` is no JSON ({error})") from error
    return Snapshot(state, tensors)


def _read(folder: Path, group: str, digest: str) -> dict[str, Tensor]:
    content = (folder / f"{group}{_SUFFIX}").read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise _damaged(folder, f"`{group}{_SUFFIX}` is not what was written ({len(content)} bytes)")
    return safetensors.torch.load(content)


def _damaged(folder: Path, what: str) -> UsageError:
    return UsageError(
        f"A checkpoint must be whole; in `{folder}` {what}. Remove the folder to train from the "
        "beginning."
    )


def _checkpoints(directory: Path) -> list[Path]:
    return [*directory.glob("step-????????"), *directory.glob(FINAL)]


def _age(folder: Path) -> tuple[bool, str]:
    return folder.name == FINAL, folder.name
