"""Folders that hold several studies, of a protocol or of a map; read without torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redrop.errors import UsageError
from redrop.study.records import Study, read_study
from redrop.study.regime_map import MapPoint
from redrop.study.schema import PLAN_FILE
from redrop.study.stage import ProtocolSettings

PROTOCOL_FILE = "protocol.json"
_MAP_PLANS = f"amount-*/{PLAN_FILE}"


def holds_protocol(folder: Path) -> bool:
    """Say whether a budgeted study lies in a folder."""
    return (folder / PROTOCOL_FILE).is_file()


def holds_map(folder: Path) -> bool:
    """Say whether a map lies in a folder, which is itself no study."""
    return not (folder / PLAN_FILE).exists() and any(folder.glob(_MAP_PLANS))


@dataclass(frozen=True, kw_only=True, slots=True)
class ProtocolFolder:
    """What lies in the folder of a budgeted study.

    Args:
        settings: Of the protocol.
        command: That began it, and goes on with it.
        studies: Of its stages, complete or not.
    """

    settings: ProtocolSettings
    command: str
    studies: tuple[Study, ...]


def read_protocol_folder(folder: Path) -> ProtocolFolder | None:
    """Return what lies in the folder of a budgeted study, or None for another folder.

    Raises:
        UsageError: A file is broken.
    """
    settings, recorded = read_protocol(folder), read_protocol_file(folder)
    if settings is None or recorded is None:
        return None
    command = str(recorded.get("command", ""))
    return ProtocolFolder(settings=settings, command=command, studies=stage_studies(folder))


def read_protocol(folder: Path) -> ProtocolSettings | None:
    """Return the settings of a budgeted study from its folder, or None where there are none.

    Raises:
        UsageError: The file is broken.
    """
    recorded = read_protocol_file(folder)
    if recorded is None:
        return None
    try:
        return ProtocolSettings.from_json(recorded["settings"])
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"`{folder / PROTOCOL_FILE}` does not hold the settings of a protocol: {error}. "
            "Restore it, or start anew."
        ) from error


def stage_studies(folder: Path) -> tuple[Study, ...]:
    """Return the studies in the folders of the stages, complete or not.

    Raises:
        UsageError: A record is broken.
    """
    plans = sorted(folder.glob(f"[1-4]-*/{PLAN_FILE}"))
    return tuple(read_study(plan.parent) for plan in plans)


def read_protocol_file(folder: Path) -> dict[str, Any] | None:
    """Return what a budgeted study noted of itself when it began, or None where there is none.

    Raises:
        UsageError: The file is no JSON object.
    """
    path = folder / PROTOCOL_FILE
    try:
        recorded = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError as error:
        raise UsageError(f"`{path}` is not JSON ({error}). Restore it, or start anew.") from error
    if not isinstance(recorded, dict):
        raise UsageError(f"`{path}` must hold a JSON object; got {type(recorded).__name__}.")
    return recorded


def read_map_folder(folder: Path) -> tuple[MapPoint, ...]:
    """Return the studies of a map, complete or not; none for a folder that is no map.

    Raises:
        UsageError: A record is broken, or a plan does not count its training data.
    """
    plans = sorted(folder.glob(_MAP_PLANS))
    return tuple(_point(read_study(plan.parent)) for plan in plans)


def _point(study: Study) -> MapPoint:
    unique = study.plan.settings.get("data", {}).get("train_targets")
    if not unique:
        raise UsageError(
            f"`{study.folder}` does not count its training data, which a map needs. Leave it out."
        )
    return MapPoint(study=study, unique=int(unique))
