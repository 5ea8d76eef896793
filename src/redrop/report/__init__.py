"""Reports: from records to a table, figures, one HTML file and one JSON file."""

from redrop.report.comparison import StudyComparison, compare_studies, rich_comparison
from redrop.report.comparison_page import write_comparison
from redrop.report.content import Report, build_report
from redrop.report.export import ExportPaths, export_tables
from redrop.report.markdown import report_markdown
from redrop.report.table import rich_table
from redrop.report.tensorboard import export_tensorboard
from redrop.report.trackio import export_trackio
from redrop.report.write import ReportPaths, write_report

__all__ = [
    "ExportPaths",
    "Report",
    "ReportPaths",
    "StudyComparison",
    "build_report",
    "compare_studies",
    "export_tables",
    "export_tensorboard",
    "export_trackio",
    "report_markdown",
    "rich_comparison",
    "rich_table",
    "write_comparison",
    "write_report",
]
