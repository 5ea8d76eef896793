"""What `redrop.study(...)` shows, by the means of the command: progress, report and table.

`redrop.study` is both a layer and what people call. Layers import one way, and what a call shows
is made above this one. So this module alone imports from there; the contract in pyproject.toml
lists those imports one by one, and lets nothing but the call and its result use it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from redrop.report import Report
    from redrop.report.table import Table
    from redrop.study.conduct import Watch
    from redrop.study.stage import Stage


def progress() -> tuple[Watch, Callable[[Stage], None]]:
    """Return what shows the progress of runs, and what announces a stage, on standard error."""
    from redrop.cli.engine import announce, watch

    return watch, announce


def write_report(folder: Path) -> tuple[Path, Report]:
    """Write the report of a study; return its page and what it says."""
    from redrop.report import write_report

    paths = write_report(folder)
    return paths.html, paths.report


def write_protocol_report(folder: Path) -> None:
    """Write the report of a study with a budget."""
    from redrop.report.protocol_write import write_protocol_report

    write_protocol_report(folder)


def draw_table(table: Table, width: int) -> RichTable:
    """Return the table of a report for a terminal of that width."""
    from redrop.report import rich_table

    return rich_table(table, width)
