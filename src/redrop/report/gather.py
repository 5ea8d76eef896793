"""From the folders that a user names to the studies in them."""

from collections.abc import Sequence
from pathlib import Path

from redrop.errors import UsageError
from redrop.study.folders import holds_protocol
from redrop.study.records import Study, read_study
from redrop.study.schema import PLAN_FILE

DEPTH = 2
"""A folder of studies may hold one with a budget, whose stages lie a level deeper."""

_CONFIRMS = "4-"
"""Stages before the last one choose what the last one judges."""


def gather_studies(folders: Sequence[Path], *, judged: bool = False) -> list[Study]:
    """Read the studies that the folders hold: a study each, or all that lie inside.

    Args:
        folders: Of a study, of a study with a budget, of a map, or of many studies.
        judged: Leave out the stages of a study with a budget that only choose.

    Raises:
        UsageError: A folder holds no study, or none that judges, or a record is broken.
    """
    found: list[Path] = []
    for folder in folders:
        inside = [folder]
        if not (folder / PLAN_FILE).exists():
            plans = [p for d in range(1, DEPTH + 1) for p in folder.glob("*/" * d + PLAN_FILE)]
            inside = sorted(plan.parent for plan in plans) or [folder]
        kept = [each for each in inside if not (judged and _only_chooses(each))]
        if not kept:
            raise UsageError(
                f"A study with a budget is judged by its confirmation; `{folder}` has not come to "
                "it. Repeat its command to go on, or leave it out."
            )
        found += kept
    return [read_study(folder) for folder in found]


def _only_chooses(folder: Path) -> bool:
    return holds_protocol(folder.parent) and not folder.name.startswith(_CONFIRMS)
