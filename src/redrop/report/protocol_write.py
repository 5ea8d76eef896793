"""The files of a budgeted study's report, and its short form for a terminal."""

from __future__ import annotations

import json
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from redrop.disk import write_atomically
from redrop.report.protocol import ProtocolReport, build_protocol_report, protocol_dict
from redrop.report.protocol_page import STAGE_HEADINGS, protocol_html, stage_cells
from redrop.report.write import write_report

HTML, JSON = "report.html", "report.json"
_WIDE = 110
"""Columns of a terminal from which on the table says what each stage is about."""


def write_protocol_report(folder: Path) -> ProtocolReport:
    """Write report.html and report.json of a budgeted study, and the report of its confirmation.

    An unfinished study is reported as far as it is.

    Raises:
        UsageError: The folder holds none, a record is broken, or the disk refuses.
    """
    report = build_protocol_report(folder)
    if report.confirmation is not None:
        write_report(report.confirmation.study.folder)
    write_atomically(folder / HTML, protocol_html(report))
    text = json.dumps(protocol_dict(report), indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(folder / JSON, text + "\n")
    return report


def rich_stages(report: ProtocolReport, width: int) -> Table:
    """Return the table of stages for a terminal of that width; the page has the reasons."""
    kept = ("Stage", "What", "Runs", "Steps", "Cost", "State")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    places = []
    for place, (title, is_text) in enumerate(STAGE_HEADINGS):
        if title in kept and (title != "What" or width >= _WIDE):
            places.append(place)
            justify = "left" if is_text else "right"
            table.add_column(title, justify=justify, no_wrap=title != "What")  # type: ignore[arg-type]
    for row in stage_cells(report):
        table.add_row(*(row[place] for place in places))
    return table
