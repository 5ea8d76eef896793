"""The second table of a regime map: what every arm lost on each amount of data.

Where the best possible loss is known exactly, as for the generated language, the table holds the
excess over it: how much of what can be learned was not.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from redrop.report.content import least_loss
from redrop.report.table import spread
from redrop.study.records import Study
from redrop.study.statistics import Summary, summarize
from redrop.study.wording import describe_arm


@dataclass(frozen=True, kw_only=True, slots=True)
class MapLosses:
    """Losses at the best checkpoint by study and arm.

    Args:
        title: Of the table.
        caption: What was measured, on which data, in which unit.
        arms: In words, the columns.
        losses: A row per study, a Summary over the seeds per arm, or None without any.
    """

    title: str
    caption: str
    arms: tuple[str, ...]
    losses: tuple[tuple[Summary | None, ...], ...]

    @property
    def headings(self) -> tuple[tuple[str, bool], ...]:
        """Return the titles of the columns, and whether they hold text."""
        return (("Training data", True), *((arm, False) for arm in self.arms))

    def cells(self, amounts: Sequence[str]) -> list[list[str]]:
        """Return the rows as text, each behind the name of its amount."""
        shown = ([spread(each) for each in row] for row in self.losses)
        return [[amount, *row] for amount, row in zip(amounts, shown, strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """Return the table for machines."""
        rows = [[each and asdict(each) for each in row] for row in self.losses]
        return {"title": self.title, "caption": self.caption, "arms": self.arms, "rows": rows}


def map_losses(studies: Sequence[Study]) -> MapLosses:
    """Sum up every arm of each study: in test loss if all of them read test data."""
    plan = studies[0].plan
    ends = [run.end for study in studies for run in study.runs if run.end is not None]
    has_test = all(end.test_loss_best is not None for end in ends if end.status != "diverged")
    least = [least_loss(study.plan.settings) for study in studies]
    what = "test loss" if has_test else "validation loss"
    if None in least:
        title, least = f"Mean {what}", [0.0] * len(studies)
    else:
        title = f"Mean excess of {what} over the least possible"
    return MapLosses(
        title=title,
        caption=f"At the best checkpoint, in {plan.unit}: mean ± sd over the seeds.",
        arms=tuple(describe_arm(plan, arm.name) for arm in plan.arms),
        losses=tuple(
            tuple(_losses(study, arm.name, has_test, zero or 0.0) for arm in plan.arms)
            for study, zero in zip(studies, least, strict=True)
        ),
    )


def _losses(study: Study, arm: str, has_test: bool, zero: float) -> Summary | None:
    ends = [run.end for run in study.of_arm(arm).values() if run.end is not None]
    found = [end.test_loss_best if has_test else end.best_validation_loss for end in ends]
    return summarize([loss - zero for loss in found if loss is not None])
