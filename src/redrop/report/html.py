"""report.html: one file that needs nothing from outside and no script."""

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from redrop.report.content import Report
from redrop.report.figures import Figure, draw_figures
from redrop.report.paste import configurations, recommended_arm
from redrop.report.table import NOTHING
from redrop.study.records import RunRecord, Study
from redrop.study.wording import describe_arm, signed

_TEMPLATE = "report.html"


def report_html(report: Report) -> str:
    """Return the page; the same records give the same bytes."""
    plan = report.study.plan
    recommended = recommended_arm(plan, report.verdict)
    return render(
        _TEMPLATE,
        report=report,
        recommended="" if recommended is None else recommended.label or recommended.name,
        pasted=configurations(plan, recommended),
        plan=plan,
        headline=report.verdict.headline,
        sentences=report.verdict.sentences[1:],
        figures=[_inline(figure) for figure in draw_figures(report)],
        runs=_runs(report),
        planned=len(plan.arms) * len(plan.seeds),
        settings=json.dumps(dict(plan.settings), indent=2, ensure_ascii=False),
    )


def render(template: str, **values: Any) -> str:
    """Return a page of this folder's templates, in the style that they share."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["tie"] = _tie
    return environment.get_template(template).render(**values)


def _tie(text: str) -> str:
    r"""Keep a number on one line with its sign and unit, by no-break spaces.

    >>> _tie("0.1 ± 0.01 nats (95 %)").count("\u00a0")
    4
    """
    for loose in (" ± ", " %", " nats"):
        text = text.replace(loose, loose.replace(" ", "\u00a0"))
    return text


def _inline(figure: Figure) -> dict[str, Any]:
    # Our own drawing, every text in it escaped by matplotlib and by to_svg.
    svg = Markup(figure.svg)
    return {"name": figure.name, "title": figure.title, "caption": figure.caption, "svg": svg}


def _runs(report: Report) -> dict[str, Any]:
    """Return the list of all runs: its headings and its cells."""
    study = report.study
    has_test = any(row.test_loss for row in report.table.arms)
    titles = ["Arm", "Seed", "Record", "Status", "Steps", "Best step"]
    titles += ["Best validation loss", "Final validation loss"] + ["Test loss"] * has_test
    headings = [(title, title in ("Arm", "Record", "Status")) for title in titles]
    rows = [_run(run, study) for run in (*study.runs, *study.incomplete)]
    return {"headings": headings, "rows": [row[: len(titles)] for row in rows]}


def _run(run: RunRecord, study: Study) -> list[str]:
    head, end = run.header, run.end
    start = [describe_arm(study.plan, head.arm), str(head.seed), head.id]
    if end is None:
        step = f"{run.evals[-1].step:,}" if run.evals else NOTHING
        return [*start, "not complete", step, *[NOTHING] * 4]
    best = NOTHING if end.best_step is None else f"{end.best_step:,}"
    losses = (end.best_validation_loss, end.final_validation_loss, end.test_loss_best)
    cells = [NOTHING if loss is None else signed(loss, 4) for loss in losses]
    return [*start, end.status, f"{end.steps:,}", best, *cells]
