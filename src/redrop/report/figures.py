"""The figures of the report with their captions and their words for those who do not see them."""

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure as Drawing

from redrop.report.content import Report, least_loss
from redrop.report.curves import draw_difference, draw_gap, draw_training, draw_validation
from redrop.report.forest import draw_forest
from redrop.report.series import QUANTITIES, Series, arm_series, difference_series
from redrop.report.svg import to_svg
from redrop.study.records import Study
from redrop.study.wording import count, describe_arm, signed


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """A drawn figure; `svg` is an element ready to stand in a page."""

    name: str
    title: str
    caption: str
    alt: str
    svg: str


def draw_figures(report: Report) -> tuple[Figure, ...]:
    """Draw what the records allow: no curves without a loss, no differences without a pair."""
    study, verdict = report.study, report.verdict
    figures = []
    if any(each.difference is not None for each in verdict.best):
        alt = "Intervals of the difference to the baseline. " + " ".join(
            each.sentence for each in verdict.best
        )
        figure = draw_forest(study, verdict)
        figures.append(
            _figure("verdict", "Difference to the baseline", _forest(study), alt, figure)
        )
    losses = _series(study, "validation_loss")
    if losses:
        alt = _curve_alt("validation loss", losses, study)
        figure = draw_validation(study)
        caption = _validation(study)
        figures.append(_figure("validation", "Validation loss", caption, alt, figure))
        alt = _curve_alt("training loss with dropout off", _series(study, "train_eval_loss"), study)
        figure = draw_training(study)
        title = "Training loss, dropout on and off"
        figures.append(_figure("training", title, _training(study), alt, figure))
        alt = _curve_alt("generalization gap", _series(study, "gap"), study)
        caption = _gap(study)
        figures.append(_figure("gap", "Generalization gap", caption, alt, draw_gap(study)))
    differences = _differences(study)
    if differences:
        alt = _curve_alt("difference in validation loss to the baseline", differences, study)
        caption = _difference(study)
        title = "Difference to the baseline over steps"
        figures.append(_figure("difference", title, caption, alt, draw_difference(study)))
    return tuple(figures)


def _figure(name: str, title: str, caption: str, alt: str, drawn: Drawing) -> Figure:
    return Figure(name=name, title=title, caption=caption, alt=alt, svg=to_svg(drawn, name, alt))


def _series(study: Study, quantity: str) -> list[Series]:
    found = [arm_series(study, arm.name, QUANTITIES[quantity]) for arm in study.plan.arms]
    return [series for series in found if series is not None]


def _differences(study: Study) -> list[Series]:
    names = [arm.name for arm in study.plan.arms if arm.name != study.plan.baseline]
    found = [difference_series(study, name, QUANTITIES["validation_loss"]) for name in names]
    return [series for series in found if series is not None]


def _curve_alt(what: str, drawn: Sequence[Series], study: Study) -> str:
    """Say what a line chart shows: each line's lowest point and its end."""
    lines = []
    for series in drawn:
        best = min(range(len(series.mean)), key=lambda place: series.mean[place])
        lines.append(
            f"{describe_arm(study.plan, series.arm)}: lowest {signed(series.mean[best])} at step "
            f"{series.steps[best]:,}, {signed(series.mean[-1])} at step {series.steps[-1]:,}"
        )
    return f"Line chart of {what} over optimizer steps. " + "; ".join(lines) + "."


def _lines(study: Study) -> str:
    counts = [len(study.of_arm(arm.name)) for arm in study.plan.arms]
    if max(counts) < 2:
        return "One seed per arm."
    upto = "" if min(counts) == max(counts) else "up to "
    diverged = any(study.diverged(arm.name) for arm in study.plan.arms)
    apart = " Diverged runs are drawn thin and have no part in the mean." if diverged else ""
    return (
        f"Thick: mean of {upto}{count(max(counts), 'seed')}, as far as all of them go; band: one "
        f"standard deviation; thin: single seeds.{apart}"
    )


def _forest(study: Study) -> str:
    plan = study.plan
    is_single = all(len(study.of_arm(arm.name)) < 2 for arm in plan.arms)
    interval = f"bar: {100 * plan.confidence:g} % interval"
    bar = "no interval, since there is one seed" if is_single else interval
    return (
        "What to see: an arm is better if its whole bar lies left of the grey zone, which holds "
        f"differences too small to matter (±{plan.margin:g}). Dot: mean; {bar}; ticks: single "
        "seeds. Each panel has its own scale."
    )


def _validation(study: Study) -> str:
    least = least_loss(study.plan.settings)
    dotted = "" if least is None else " Dotted: the least loss any model can have on these data."
    return (
        "What to see: where a line turns up, that network has begun to memorize its training "
        f"data. Ring: lowest point of the mean. {_lines(study)} The steep beginning leaves the "
        f"picture at the top.{dotted}"
    )


def _training(study: Study) -> str:
    return (
        "What to see: with dropout on (left), training loss is that of a network with parts "
        "missing, and says little about fit. With dropout off (right), the same network is "
        "measured whole; only that compares to validation loss. " + _lines(study)
    )


def _gap(study: Study) -> str:
    return (
        "What to see: how much worse each network does on data it has not seen. Dropout is meant "
        f"to keep this small; a small gap at a high loss is no gain. {_lines(study)}"
    )


def _difference(study: Study) -> str:
    plan = study.plan
    band = f"band: its {100 * plan.confidence:g} % interval at that step alone; thin: seeds"
    return (
        "What to see: dropout slows learning at first, so a line may start above zero and cross "
        "it later; a study that stops before the crossing gives the wrong answer. Below zero the "
        "arm is better than the baseline at the same step, which is not the baseline's best one. "
        f"Thick: mean paired difference; {band}. Grey: the margin, ±{plan.margin:g}."
    )
