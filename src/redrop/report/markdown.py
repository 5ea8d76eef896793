"""The report as Markdown: for a terminal, a pull request or a log."""

from redrop.report.content import Report
from redrop.report.table import markdown_table


def report_markdown(report: Report) -> str:
    """Return verdict, table, regime, what is missing, and the command, as Markdown."""
    headline, *rest = report.verdict.sentences
    parts = [f"# {headline}", "\n".join(f"- {sentence}" for sentence in rest)]
    parts += [markdown_table(report.table)]
    if report.missing:
        parts += ["## Not complete", "\n".join(f"- {run}" for run in report.missing)]
    facts = [f"- {name}: {value}" for name, value in report.regime]
    parts += ["## Regime", "\n".join(facts)]
    parts += ["## How it was done", "\n\n".join(report.method)]
    parts += ["## Repeat it", f"```\n{report.study.plan.command}\n```"]
    return "\n\n".join(parts) + "\n"
