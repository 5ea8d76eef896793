"""What a folder of studies holds, as JSON for the page; loads no torch.

A study is any folder with a `study.json`, at most two levels below the folder that is served. The
page names it by its place in that folder; only places found here are ever opened.
"""

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from redrop.errors import UsageError
from redrop.report.series import QUANTITIES, Quantity, arm_series, difference_series
from redrop.study.records import Evaluation, RunRecord, Study, read_study
from redrop.study.wording import describe_arm

PLAN = "study.json"
DEPTH = 2


def find_studies(root: Path) -> dict[str, Path]:
    """Return the study folders under `root` by name, the newest plan first; links are not followed.

    Names are paths with `/` written as `:`, and `this` for `root` itself.
    """
    found = {_name(root, folder): folder for folder in _study_folders(root, DEPTH)}
    newest_first = sorted(found, key=lambda name: -_changed(found[name]))
    return {name: found[name] for name in newest_first}


def study_payload(name: str, folder: Path, have: Mapping[str, int], version: str) -> dict[str, Any]:
    """Return what the page shows of a study, without the evaluations that it has already.

    Args:
        name: Of the study on the page.
        folder: Of the study.
        have: Number of evaluations that the page has, by run id.
        version: Of the page's copy, "" for none; if nothing has changed since, that is all it says.

    Raises:
        UsageError: A record or the plan is broken.
    """
    now = _version(folder)
    if now == version:
        return {"version": now, "is_same": True}
    study = read_study(folder)
    runs = _all_runs(study)
    metrics = _metrics(runs)
    quantities = {**QUANTITIES, **metrics}
    return {
        "version": now,
        "is_same": False,
        "name": name,
        "plan": _plan(study),
        "metrics": list(metrics),
        "runs": [_run(run, have.get(run.header.id, 0), quantities) for run in runs],
        "means": {metric: _means(study, of) for metric, of in quantities.items()},
        "differences": {metric: _differences(study, of) for metric, of in quantities.items()},
    }


def parse_have(text: str) -> dict[str, int]:
    """Read `<run id>:<count>,…`, the cursor of a page that asks for what is new.

    Raises:
        UsageError: It is written otherwise.

    >>> parse_have("443fb4ae3e81:12,a0:0")
    {'443fb4ae3e81': 12, 'a0': 0}
    """
    have = {}
    for part in filter(None, text.split(",")):
        run, _, count = part.partition(":")
        if not (count.isascii() and count.isdigit() and len(count) < 10):
            raise UsageError(f"`have` is written run:count,run:count; got {part[:60]!r}.")
        have[run] = int(count)
    return have


def _study_folders(folder: Path, depth: int) -> Iterator[Path]:
    try:
        if (folder / PLAN).is_file():
            yield folder
        if depth:
            for child in sorted(folder.iterdir()):
                if child.is_dir() and not child.is_symlink() and not child.name.startswith("."):
                    yield from _study_folders(child, depth - 1)
    except OSError:  # a folder that may not be read holds nothing for this user
        return


def _name(root: Path, folder: Path) -> str:
    return ":".join(folder.relative_to(root).parts) or "this"


def _changed(folder: Path) -> float:
    try:
        return (folder / PLAN).stat().st_mtime
    except OSError:
        return 0.0


def _version(folder: Path) -> str:
    """Return a digest of names, sizes and times: it changes whenever a record grows."""
    digest = hashlib.sha256()
    for path in (folder / PLAN, *sorted((folder / "runs").glob("*.jsonl"))):
        try:
            status = path.stat()
        except OSError:
            continue
        digest.update(f"{path.name} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _plan(study: Study) -> dict[str, Any]:
    plan = study.plan
    arms = [
        {"name": arm.name, "label": describe_arm(plan, arm.name), "dropout": dict(arm.dropout)}
        for arm in plan.arms
    ]
    return {
        "name": plan.name,
        "arms": arms,
        "baseline": plan.baseline,
        "seeds": list(plan.seeds),
        "unit": plan.unit,
        "short_unit": plan.short_unit,
        "margin": plan.margin,
        "confidence": plan.confidence,
        "comparisons": plan.looks * max(1, len(plan.arms) - 1),
        "command": plan.command,
        "steps": plan.settings.get("train", {}).get("steps"),
        "missing": len(study.missing),
    }


def _all_runs(study: Study) -> list[RunRecord]:
    order = {arm.name: place for place, arm in enumerate(study.plan.arms)}
    runs = (*study.runs, *study.incomplete)
    return sorted(runs, key=lambda run: (order[run.header.arm], run.header.seed))


def _metrics(runs: list[RunRecord]) -> dict[str, Quantity]:
    """Return what was measured on the validation data beside the loss, by name."""
    names = dict.fromkeys(
        name for run in runs for line in run.evals for name in line.validation_metrics
    )
    return {name: _metric(name) for name in names if name not in (*QUANTITIES, "step")}


def _metric(name: str) -> Quantity:
    def read(line: Evaluation) -> float | None:
        value = line.validation_metrics.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        return None

    return read


def _network(run: RunRecord) -> dict[str, Any]:
    """Return which network of the view "Block" the run trained, "" for none, and its sites."""
    config = run.header.config
    kind, model = config.get("task", {}).get("network", "transformer"), config.get("model", {})
    name = model.get("network", "") if kind == "mlp" else kind
    is_drawn = name in ("transformer", "old", "modern")
    return {
        "network": name if is_drawn else "",
        "norm": model.get("norm", ""),
        "rates": model.get("dropout", {}),
    }


def _run(run: RunRecord, first: int, quantities: Mapping[str, Quantity]) -> dict[str, Any]:
    new = run.evals[first:]
    columns = {metric: [of(line) for line in new] for metric, of in quantities.items()}
    return {
        "id": run.header.id,
        "arm": run.header.arm,
        "seed": run.header.seed,
        "status": run.end.status if run.end else "unfinished",
        **_network(run),
        "first": first,
        "evals": {"step": [line.step for line in new], **columns},
    }


def _means(study: Study, quantity: Quantity) -> list[dict[str, Any]]:
    series = [arm_series(study, arm.name, quantity) for arm in study.plan.arms]
    return [_curve(each) for each in series if each is not None]


def _differences(study: Study, quantity: Quantity) -> list[dict[str, Any]]:
    names = [arm.name for arm in study.plan.arms if arm.name != study.plan.baseline]
    series = [difference_series(study, name, quantity) for name in names]
    return [_curve(each) for each in series if each is not None]


def _curve(series: Any) -> dict[str, Any]:
    """Return a series without its single seeds: the page has those as runs."""
    whole = series.to_dict()
    return {"count": len(whole.pop("seeds")) - len(whole["diverged"]), **whole}
