"""Reports: from records to a table, figures, one HTML file and one JSON file."""

from redrop.report.content import Report, build_report
from redrop.report.markdown import report_markdown
from redrop.report.table import rich_table
from redrop.report.write import ReportPaths, write_report

__all__ = [
    "Report",
    "ReportPaths",
    "build_report",
    "report_markdown",
    "rich_table",
    "write_report",
]
