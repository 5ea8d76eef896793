"""The report as Markdown: for a terminal, a pull request or a log."""

from collections.abc import Iterable

from redrop.report.content import Report
from redrop.report.table import markdown_table


def report_markdown(report: Report) -> str:
    """Return verdict, table, regime, what is missing, and the command, as Markdown."""
    headline, *rest = report.verdict.sentences
    parts = [f"# {headline}", bullets(rest)]
    parts += [markdown_table(report.table)]
    if report.missing:
        parts += ["## Not complete", bullets(report.missing)]
    parts += ["## Regime", bullets(f"{name}: {value}" for name, value in report.regime)]
    parts += ["## How it was done", "\n\n".join(report.method)]
    parts += ["## Repeat it", f"```\n{report.study.plan.command}\n```"]
    return "\n\n".join(parts) + "\n"


def bullets(sentences: Iterable[str]) -> str:
    """Return a list.

    >>> print(bullets(["One.", "Two."]))
    - One.
    - Two.
    """
    return "\n".join(f"- {sentence}" for sentence in sentences)
