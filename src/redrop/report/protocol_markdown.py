"""The report of a budgeted study as Markdown: for a terminal, a pull request or a log."""

from redrop.report.markdown import bullets
from redrop.report.protocol import ProtocolReport
from redrop.report.protocol_page import (
    DROPPED_HEADINGS,
    STAGE_HEADINGS,
    dropped_cells,
    found_parts,
    stage_cells,
)
from redrop.report.table import markdown_rows, markdown_table


def protocol_markdown(report: ProtocolReport) -> str:
    """Return answer, configuration, stages and what each found, and the command, as Markdown."""
    parts = [f"# {report.headline}", bullets(report.sentences)]
    for title, code in report.pasted[:1]:
        parts += ["## The configuration to paste", f"{title}:", f"```\n{code}\n```"]
    parts += ["## The stages", markdown_rows(STAGE_HEADINGS, stage_cells(report))]
    dropped = dropped_cells(report)
    parts += ["## What was left out", markdown_rows(DROPPED_HEADINGS, dropped)] if dropped else []
    for found in found_parts(report):
        parts += [f"## {found.title}"]
        parts += [bullets(found.sentences)] if found.sentences else []
        parts += [markdown_rows(found.headings, found.rows)] if found.rows else []
    if report.confirmation is not None:
        parts += ["## The confirmation", markdown_table(report.confirmation.table)]
    parts += ["## The budget", bullets([f"{name}: {value}" for name, value in report.account])]
    parts += ["## The command", f"```\n{report.recorded.command}\n```"]
    return "\n\n".join(parts) + "\n"
