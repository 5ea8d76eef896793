"""From a study folder to its report, rebuilt from the records alone."""

from dataclasses import dataclass
from pathlib import Path

from redrop.report.content import Report, build_report
from redrop.report.html import report_html
from redrop.report.json import report_json
from redrop.study.records import read_study, write_atomically


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where a report lies, and what it says."""

    html: Path
    json: Path
    report: Report


def write_report(folder: Path) -> ReportPaths:
    """Write report.html and report.json into a study folder; the same records give the same bytes.

    Each file is replaced in one step, so a reader finds the old report or the new one. A study with
    missing runs gets a report of what is there, which names what is missing.

    Raises:
        UsageError: The folder holds no study, a record is broken, or the disk refuses.
    """
    report = build_report(read_study(folder))
    paths = ReportPaths(folder / "report.html", folder / "report.json", report)
    write_atomically(paths.html, report_html(report))
    write_atomically(paths.json, report_json(report))
    return paths
