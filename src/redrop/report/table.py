"""The table of arms: one model, shown in the terminal, in HTML and in Markdown."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table as RichTable

from redrop.study.against_baseline import Comparison
from redrop.study.records import End, RunRecord, Study
from redrop.study.statistics import Summary, summarize
from redrop.study.verdict import Verdict
from redrop.study.wording import describe_arm, plus_minus, signed

NOTHING = "–"


@dataclass(frozen=True, kw_only=True, slots=True)
class ArmRow:
    """What the runs of one arm came to; a Summary is None where no complete run has the figure."""

    arm: str
    label: str
    seeds: int
    planned: int
    diverged: int
    best_validation_loss: Summary | None
    best_step: Summary | None
    gap_at_best: Summary | None
    gap_at_end: Summary | None
    final_validation_loss: Summary | None
    test_loss: Summary | None
    test_metrics: Mapping[str, Summary]
    seconds: Summary | None
    comparison: Comparison | None

    def to_dict(self) -> dict[str, Any]:
        """Return the row for report.json; the verdict holds the comparison."""
        fields = asdict(self)
        del fields["comparison"]
        return fields


@dataclass(frozen=True, slots=True)
class Heading:
    """A column: its title, the second line of the title, and how early it gives way (0 never)."""

    title: str
    detail: str
    is_text: bool
    yields: int


@dataclass(frozen=True, slots=True)
class Table:
    """Cells as text; `rows[i]` belongs to `arms[i]`."""

    headings: tuple[Heading, ...]
    rows: tuple[tuple[str, ...], ...]
    arms: tuple[ArmRow, ...]
    recommended: str | None
    caption: str = ""

    @property
    def columns(self) -> tuple[tuple[str, bool, str], ...]:
        """Title of each column, whether it holds text, and the second line of its title."""
        return tuple((each.title, each.is_text, each.detail) for each in self.headings)

    @property
    def green(self) -> frozenset[int]:
        """Places of the rows that the verdict recommends."""
        return frozenset(
            place for place, row in enumerate(self.arms) if row.arm == self.recommended
        )


def arm_rows(study: Study, verdict: Verdict) -> tuple[ArmRow, ...]:
    """Sum up every arm of the plan, in its order."""
    comparisons = {each.arm: each for each in verdict.best}
    return tuple(_arm_row(study, arm.name, comparisons.get(arm.name)) for arm in study.plan.arms)


def _arm_row(study: Study, arm: str, comparison: Comparison | None) -> ArmRow:
    runs = list(study.of_arm(arm).values())

    def over_seeds(value: Callable[[RunRecord, End], float | None]) -> Summary | None:
        found = [value(run, run.end) for run in runs if run.end is not None]
        return summarize([each for each in found if each is not None])

    return ArmRow(
        arm=arm,
        label=describe_arm(study.plan, arm),
        seeds=len(runs),
        planned=len(study.plan.seeds),
        diverged=sum(1 for run in runs if run.end and run.end.status == "diverged"),
        best_validation_loss=over_seeds(lambda _, end: end.best_validation_loss),
        best_step=over_seeds(lambda _, end: end.best_step),
        gap_at_best=over_seeds(lambda run, end: _gap(run, end.best_step)),
        gap_at_end=over_seeds(lambda run, _: _gap(run, run.evals[-1].step if run.evals else None)),
        final_validation_loss=over_seeds(lambda _, end: end.final_validation_loss),
        test_loss=over_seeds(lambda _, end: end.test_loss_best),
        test_metrics=_metrics(runs),
        seconds=over_seeds(lambda _, end: end.seconds),
        comparison=comparison,
    )


def _metrics(runs: Sequence[RunRecord]) -> dict[str, Summary]:
    """Sum up what the task measures besides the loss, on test data at the best checkpoint."""
    ends = [run.end.test_metrics_best for run in runs if run.end is not None]
    found = {}
    for name in dict.fromkeys(name for end in ends for name in end):
        summary = summarize([end[name] for end in ends if end.get(name) is not None])
        if summary is not None:
            found[name] = summary
    return found


def _first_metric(rows: Sequence[ArmRow]) -> str | None:
    """Return the metric that stands first: accuracy for classes, RMSE for values."""
    return next((name for row in rows for name in row.test_metrics), None)


def _gap(run: RunRecord, step: int | None) -> float | None:
    line = run.at(step)
    return None if line is None else line.gap


def make_table(study: Study, verdict: Verdict) -> Table:
    """Lay the arms out; the test column is there only if test data were read."""
    rows = arm_rows(study, verdict)
    has_test = any(row.test_loss for row in rows)
    metric_name = _first_metric(rows)
    metric = "test loss" if has_test else "validation loss"
    share = f"{100 * study.plan.confidence:g} %"
    columns: list[tuple[Heading, Callable[[ArmRow], str]]] = [
        (Heading("Arm", "", True, 0), lambda row: row.arm),
        (Heading("Recipe", "", True, 9), lambda row: row.label),
        (
            Heading("Best validation loss", "mean ± sd", False, 0),
            lambda row: spread(row.best_validation_loss),
        ),
        (Heading("at step", "mean", False, 2), lambda row: _whole(row.best_step)),
        (Heading("Gap at best", "val. − train", False, 1), lambda row: _mean(row.gap_at_best)),
        (Heading("Gap at end", "val. − train", False, 5), lambda row: _mean(row.gap_at_end)),
        (
            Heading("Final validation loss", "mean", False, 7),
            lambda row: _mean(row.final_validation_loss),
        ),
        (Heading("Test loss", "best checkpoint", False, 3), lambda row: _mean(row.test_loss)),
        (
            Heading(f"Test {metric_name}", "best checkpoint", False, 4),
            lambda row: _mean(row.test_metrics.get(metric_name or "")),
        ),
        (
            Heading("Difference to baseline", f"{metric}, {share}", False, 0),
            lambda row: _difference(row, study.plan.baseline),
        ),
        (Heading("Outcome", "", True, 4), lambda row: _outcome(row, study.plan.baseline)),
        (Heading("Seeds", "", False, 0), _seeds),
        (Heading("Time", "per run", False, 6), lambda row: _time(row.seconds)),
    ]
    absent = {f"Test {metric_name}"} if metric_name is None else set[str]()
    absent |= set() if has_test else {"Test loss", f"Test {metric_name}"}
    is_alone = len(rows) == 1
    absent |= {"Difference to baseline", "Outcome"} if is_alone else set()
    difference = (
        f" Difference in {metric} at the best checkpoint, with its {share} interval; negative is "
        "better."
    )
    columns = [each for each in columns if each[0].title not in absent]
    return Table(
        headings=tuple(heading for heading, _ in columns),
        rows=tuple(tuple(cell(row) for _, cell in columns) for row in rows),
        arms=rows,
        recommended=verdict.recommended,
        caption=f"Losses in {study.plan.unit}, mean ± sd over seeds."
        + ("" if is_alone else difference),
    )


def spread(summary: Summary | None) -> str:
    """Return mean ± sd of one arm, or a dash."""
    if summary is None:
        return NOTHING
    # Three decimals throughout: a column whose rows have different ones cannot be read down.
    return signed(summary.mean) + ("" if summary.sd is None else f" ± {summary.sd:.3f}")


def _mean(summary: Summary | None) -> str:
    return NOTHING if summary is None else signed(summary.mean)


def _whole(summary: Summary | None) -> str:
    return NOTHING if summary is None else f"{summary.mean:,.0f}"


def _difference(row: ArmRow, baseline: str) -> str:
    if row.arm == baseline:
        return "baseline"
    if row.comparison is None or row.comparison.difference is None:
        return NOTHING
    difference = row.comparison.difference
    return plus_minus(difference.mean, difference.half_width, plus=True)


def _outcome(row: ArmRow, baseline: str) -> str:
    if row.comparison is None or row.arm == baseline:
        return ""
    if row.comparison.difference is None:  # nothing was compared, so nothing is inconclusive
        return "diverged" if row.diverged else NOTHING
    return row.comparison.outcome.value


def _seeds(row: ArmRow) -> str:
    seeds = str(row.seeds) if row.seeds == row.planned else f"{row.seeds} of {row.planned}"
    return seeds + (f", {row.diverged} diverged" if row.diverged else "")


def _time(summary: Summary | None) -> str:
    """Return a duration as people say it.

    >>> _time(Summary(34.4, None, 1)), _time(Summary(754.0, None, 1))
    ('34 s', '13 min')
    """
    if summary is None:
        return NOTHING
    if summary.mean < 100:
        return f"{summary.mean:.0f} s"
    minutes = summary.mean / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.1f} h"


def rich_table(table: Table, width: int = 120) -> RichTable:
    """Return the table for a terminal of that width; columns that do not fit give way in order."""
    kept = _fitting(table, width)
    drawn = RichTable(
        box=SIMPLE_HEAD,
        pad_edge=False,
        header_style="bold",
        caption=table.caption,
        caption_justify="left",
    )
    for place in kept:
        heading = table.headings[place]
        title = "\n".join(_heading_lines(table, place))
        drawn.add_column(title, justify="left" if heading.is_text else "right", no_wrap=True)
    for arm, row in zip(table.arms, table.rows, strict=True):
        style = "bold green" if arm.arm == table.recommended else ""
        drawn.add_row(*(row[place] for place in kept), style=style)
    return drawn


def _heading_lines(table: Table, place: int) -> list[str]:
    """Return the heading broken so that it hardly widens its column."""
    heading = table.headings[place]
    cells = [len(row[place]) for row in table.rows]
    words = [len(word) for word in heading.title.split()]
    return textwrap.wrap(heading.title, max(*cells, *words))


def _fitting(table: Table, width: int) -> list[int]:
    """Return the places of the columns that fit into the width, the dearest ones kept."""
    wide = [
        max(map(len, (*_heading_lines(table, place), *(row[place] for row in table.rows))))
        for place in range(len(table.headings))
    ]
    kept = list(range(len(table.headings)))
    # SIMPLE_HEAD puts a blank on both sides of a cell and a third between two columns.
    while sum(wide[place] + 3 for place in kept) > width:
        yielding = [place for place in kept if table.headings[place].yields]
        if not yielding:
            break
        kept.remove(max(yielding, key=lambda place: table.headings[place].yields))
    return kept


def markdown_table(table: Table) -> str:
    """Return the table in Markdown.

    >>> heading = Heading("Arm", "", True, 0)
    >>> print(markdown_table(Table((heading,), (("none",),), (), None)))
    | Arm |
    | :-- |
    | none |
    """
    headings = [
        (heading.title + (f" ({heading.detail})" if heading.detail else ""), heading.is_text)
        for heading in table.headings
    ]
    return markdown_rows(headings, table.rows)


def markdown_rows(headings: Sequence[tuple[str, bool]], rows: Sequence[Sequence[str]]) -> str:
    r"""Return any table in Markdown; a bar in a cell is no border.

    Args:
        headings: Title of each column, and whether it holds text, which stands at the left.
        rows: A cell for each column.

    >>> print(markdown_rows([("Arm", True), ("Loss", False)], [("a|b", "1.5")]))
    | Arm | Loss |
    | :-- | --: |
    | a\|b | 1.5 |
    """
    titles = [title for title, _ in headings]
    rules = [":--" if is_text else "--:" for _, is_text in headings]
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (titles, *rows)]
    cells.insert(1, rules)
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)
