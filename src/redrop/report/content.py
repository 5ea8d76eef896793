"""Everything a report says, before it becomes HTML, JSON or Markdown; made of records alone."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from redrop.report.table import Table, make_table
from redrop.study.amounts import say_amount
from redrop.study.looks import say_looks
from redrop.study.records import RunRecord, Study
from redrop.study.schema import StudyPlan
from redrop.study.verdict import Verdict, judge
from redrop.study.wording import count, describe_arm, signed

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What there is to say of a study; `missing` names the planned runs that are not complete."""

    study: Study
    verdict: Verdict
    table: Table
    missing: tuple[str, ...]
    regime: Facts
    method: tuple[str, ...]
    versions: Facts
    machines: tuple[str, ...]


def build_report(study: Study) -> Report:
    """Judge a study and gather what its report says; a study with missing runs is no error."""
    verdict = judge(study)
    return Report(
        study=study,
        verdict=verdict,
        table=make_table(study, verdict),
        missing=tuple(_missing(study)),
        regime=tuple(_regime_facts(study, verdict)),
        method=tuple(_method(study, verdict)),
        versions=tuple((name, str(version)) for name, version in _versions(study).items()),
        machines=tuple(_machines(study)),
    )


def least_loss(settings: Mapping[str, Any]) -> float | None:
    """Return the least expected loss of the data where the plan knows it.

    The first target of a window has one token of context only, so the least loss of a window lies a
    little above the entropy rate: (opening_loss + (context - 1) · bayes_loss) / context.

    >>> least_loss({"data": {"bayes_loss": 2.0, "opening_loss": 4.0}, "model": {"context": 4}})
    2.5
    """
    data = settings.get("data", {})
    bayes, opening = data.get("bayes_loss"), data.get("opening_loss")
    context = settings.get("model", {}).get("context")
    if bayes is None or opening is None or not context:
        return None if bayes is None else float(bayes)
    return float((opening + (context - 1) * bayes) / context)


def _missing(study: Study) -> list[str]:
    begun = {(run.header.arm, run.header.seed): run for run in study.incomplete}
    return [
        f"{describe_arm(study.plan, arm)}, seed {seed}: {_progress(begun.get((arm, seed)))}"
        for arm, seed in study.missing
    ]


def _progress(run: RunRecord | None) -> str:
    if run is None or not run.evals:
        return "not begun" if run is None else "begun"
    return f"recorded to step {run.evals[-1].step:,}"


def _regime_facts(study: Study, verdict: Verdict) -> list[tuple[str, str]]:
    data, regime = study.plan.settings.get("data", {}), verdict.regime
    facts, unit = [("Data", str(data.get("name", study.plan.name)))], study.plan.short_unit
    for counted in ("tokens", "samples"):
        if data.get(counted):
            parts = [f"{number:,} {part}" for part, number in data[counted].items()]
            facts.append((counted.capitalize(), ", ".join(parts)))
    is_alone = len(study.plan.arms) == 1
    parameters, unique = study.plan.parameters, data.get("train_targets")
    if parameters is not None:
        ratio = f", {say_amount(parameters / unique)} per unique training target" if unique else ""
        facts.append(("Parameters", f"{parameters:,} trainable{ratio}"))
    if data.get("notes"):
        facts.append(("Notes on the data", " ".join(data["notes"])))
    if regime.epochs is not None:
        facts.append(("Training data read", f"{regime.epochs:,.3g} times"))
    if regime.state is not None:
        place = f"best at step {regime.best_step:,} of {regime.steps:,} (median seed)"
        facts.append(("Course" if is_alone else "Baseline", f"{regime.state}; {place}"))
        rise = signed(regime.rise or 0.0, plus=True)
        facts.append(("From its best to its end", f"{rise} {unit}"))
    for name, gap in (("best checkpoint", regime.gap_at_best), ("end", regime.gap_at_end)):
        if gap is not None:
            whose = "Gap" if is_alone else "Baseline's gap"
            facts.append((f"{whose}, {name}", f"{signed(gap)} {unit}"))
    least = least_loss(study.plan.settings)
    if least is not None:
        facts.append(("Best possible loss", f"{signed(least)} {study.plan.unit} (known exactly)"))
    return facts


def _method(study: Study, verdict: Verdict) -> list[str]:
    """Say how the study was done, in the order in which a doubting reader asks."""
    plan = study.plan
    reading = ""
    if any(run.end and run.end.test_loss_best is not None for run in study.runs):
        reading = " Test data are read once per checkpoint, for the figures reported, and choose "
        reading += "nothing."
    elif any(each.difference is not None for each in verdict.best):
        reading = " No test data were read, so the reported loss is the one that chose."
    chance = "The intervals speak for the randomness of training on these data. "
    is_alone = len(plan.arms) == 1
    return [
        f"{count(len(plan.arms), 'arm')} × {count(len(plan.seeds), 'seed')}. Runs of one seed "
        "share their initial weights, their batches and the random numbers behind their masks: "
        "what a larger p keeps, a smaller one keeps too. Arms differ in what they are named for.",
        *([] if is_alone else _judging(plan)),
        f"The best checkpoint is the step with the lowest validation loss.{reading}",
        f"Every loss but the training loss in train mode is measured with dropout off, in "
        f"{plan.unit}. The gap is validation loss minus the loss on training data, both with "
        "dropout off.",
        ("" if is_alone else chance) + "Other data, another size of model or another number of "
        "steps may end otherwise.",
    ]


def _judging(plan: StudyPlan) -> list[str]:
    """Say how arms are compared and what decides."""
    comparisons = len(plan.arms) - 1
    tests = plan.looks * comparisons
    each = 100 * (1 - (1 - plan.confidence) / tests)
    share = f"{100 * plan.confidence:g} %"
    interval = f"interval over seeds; it holds at {share}."
    if tests > 1:
        interval = (
            f"interval over seeds. {say_looks(plan, comparisons)} Bonferroni: each is that of "
            f"{each:.4g} % alone."
        )
    return [
        f"Each difference is arm minus baseline at the same seed, with the paired t {interval}",
        f"The margin, {plan.margin:g} {plan.short_unit}, is the smallest difference that was said "
        "to matter before the runs. Better: the whole interval lies below minus the margin. Worse: "
        "above the margin. No difference that matters: between the two. Inconclusive: anything "
        "else; the number of further seeds is an estimate from the spread seen so far.",
    ]


def _versions(study: Study) -> dict[str, Any]:
    found = dict(study.plan.versions)
    for run in (*study.runs, *study.incomplete):
        found |= {name: run.header.versions[name] for name in run.header.versions}
    return found


def _machines(study: Study) -> list[str]:
    """Return each different machine once, in the order of the runs."""
    runs = (*study.runs, *study.incomplete)
    found = dict.fromkeys(json.dumps(run.header.machine, sort_keys=True) for run in runs)
    machines = [json.loads(text) for text in found]
    return [
        ", ".join(f"{name}: {value}" for name, value in machine.items()) for machine in machines
    ]
