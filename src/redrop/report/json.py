"""report.json: everything the HTML says, for programs."""

import json
from dataclasses import asdict
from typing import Any

from redrop.report.content import Report, least_loss
from redrop.report.paste import configurations, recommended_arm
from redrop.report.series import QUANTITIES, arm_series, difference_series
from redrop.study.looks import error_of_all
from redrop.study.records import RunRecord

FORMAT = 3


def report_json(report: Report) -> str:
    """Return the text of report.json; the same records give the same bytes."""
    return json.dumps(report_dict(report), indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def report_dict(report: Report) -> dict[str, Any]:
    """Return the report as plain values; `format` rises when a field changes its meaning."""
    study = report.study
    plan = study.plan
    names = [arm.name for arm in plan.arms]
    others = [name for name in names if name != plan.baseline]
    curves = {
        quantity: [
            series.to_dict()
            for name in names
            if (series := arm_series(study, name, read)) is not None
        ]
        for quantity, read in QUANTITIES.items()
    }
    differences = [
        series.to_dict()
        for name in others
        if (series := difference_series(study, name, QUANTITIES["validation_loss"])) is not None
    ]
    return {
        "kind": "report",
        "format": FORMAT,
        "name": plan.name,
        "command": plan.command,
        "baseline": plan.baseline,
        "margin": plan.margin,
        "confidence": plan.confidence,
        "looks": plan.looks,
        "error_of_all_looks": error_of_all(plan),
        "seeds": list(plan.seeds),
        "verdict": report.verdict.to_dict(),
        "missing": list(report.missing),
        "arms": [
            {**row.to_dict(), "recipe": asdict(plan.arm(row.arm))} for row in report.table.arms
        ],
        "table": {
            "headings": [heading.title for heading in report.table.headings],
            "rows": [list(row) for row in report.table.rows],
        },
        "regime": dict(report.regime),
        "least_loss": least_loss(plan.settings),
        "curves": curves,
        "validation_difference": differences,
        "configurations": dict(configurations(plan, recommended_arm(plan, report.verdict))),
        "method": list(report.method),
        "versions": dict(report.versions),
        "machines": list(report.machines),
        "settings": dict(plan.settings),
        "data_sha256": plan.data_sha256,
        "runs": [run_dict(run) for run in (*study.runs, *study.incomplete)],
    }


def run_dict(run: RunRecord) -> dict[str, Any]:
    """Return one run without its curve."""
    header = run.header
    end = None if run.end is None else asdict(run.end)
    return {
        "id": header.id,
        "arm": header.arm,
        "seed": header.seed,
        "last_step": run.evals[-1].step if run.evals else None,
        "end": end,
    }
