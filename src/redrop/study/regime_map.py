"""The regime map: one study per amount of unique data, and where along them dropout stops paying.

Each study trains runs of the same kind on another amount of data, so its runs read those data
another number of times. The map sets what the arms gain against these epochs.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from redrop.errors import UsageError
from redrop.study.against_baseline import Comparison
from redrop.study.records import Study
from redrop.study.stage import chosen_losses
from redrop.study.statistics import Difference, Outcome, paired_differences, summarize
from redrop.study.verdict import judge
from redrop.study.wording import capital, describe_arm, listing, plus_minus, say_epochs
from redrop.train.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class MapPoint:
    """One study of a map.

    Args:
        study: Finished; its first arm is the baseline without dropout.
        unique: Different training tokens or samples.
        parameters: Of the network, or None where all studies have the same.
    """

    study: Study
    unique: int
    parameters: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class MapRow:
    """What one study says.

    Args:
        unique: Different training tokens or samples.
        parameters: Of the network, or None.
        epochs: How often the runs read them.
        state: Of the baseline: "passed its minimum", "level", "still falling", or None.
        best: The arm with dropout that has the lowest validation loss.
        label: Of that arm.
        best_p: Its largest p, or 0 where no dropout has the lower validation loss.
        comparison: Of that arm with the baseline. The intervals of all arms hold together, so the
            one of an arm that was chosen holds, too.
        arms: The comparison of each arm by name.
    """

    unique: int
    parameters: int | None
    epochs: float
    state: str | None
    best: str
    label: str
    best_p: float
    comparison: Comparison
    arms: dict[str, Comparison]

    def to_dict(self) -> dict[str, Any]:
        """Return the row for machines."""
        fields = {name: getattr(self, name) for name in _PLAIN}
        arms = {name: comparison.to_dict() for name, comparison in self.arms.items()}
        return {**fields, "comparison": self.comparison.to_dict(), "arms": arms}


_PLAIN = ("unique", "parameters", "epochs", "state", "best", "label", "best_p")


@dataclass(frozen=True, kw_only=True, slots=True)
class Flip:
    """Two neighbouring studies between which the mean difference of an arm changes sign.

    Args:
        arm: Its name.
        parameters: Of the networks, or None.
        fewer: Epochs of the one study.
        more: Epochs of the other.
        at: Where a straight line between the means crosses zero, over the logarithm of epochs.
        pays_beyond: Whether the arm gains at more epochs and not at fewer; else it is the reverse.
        is_certain: Whether both intervals exclude zero.
    """

    arm: str
    parameters: int | None
    fewer: float
    more: float
    at: float
    pays_beyond: bool
    is_certain: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RegimeMap:
    """The rows by size of network and rising epochs, and where the arms change sign."""

    rows: tuple[MapRow, ...]
    flips: tuple[Flip, ...]
    margin: float
    unit: str
    sentences: tuple[str, ...]

    def of_size(self, parameters: int | None) -> tuple[MapRow, ...]:
        """Return the rows of one size of network, epochs rising."""
        return tuple(row for row in self.rows if row.parameters == parameters)

    @property
    def sizes(self) -> tuple[int | None, ...]:
        """The sizes of the networks, each once, in the order of the rows."""
        return tuple(dict.fromkeys(row.parameters for row in self.rows))

    def to_dict(self) -> dict[str, Any]:
        """Return the map for machines."""
        return {
            "rows": [row.to_dict() for row in self.rows],
            "flips": [asdict(flip) for flip in self.flips],
            "margin": self.margin,
            "unit": self.unit,
            "sentences": list(self.sentences),
        }


def make_map(points: Sequence[MapPoint]) -> RegimeMap:
    """Judge every study and set them side by side.

    Raises:
        UsageError: Fewer than two studies, or their arms or their margins differ, or a study has no
            complete pair.
    """
    _check(points)
    rows = [_row(point) for point in points]
    rows.sort(key=lambda row: (row.parameters or 0, row.epochs))
    plan = points[0].study.plan
    arms = [arm.name for arm in plan.arms if arm.name != plan.baseline]
    sizes = tuple(dict.fromkeys(row.parameters for row in rows))
    flips = [
        flip
        for size in sizes
        for arm in arms
        for flip in _flips(arm, [row for row in rows if row.parameters == size])
    ]
    said = [_say_row(row, plan.short_unit) for row in rows]
    said += _say_flips(flips, rows, {arm: describe_arm(plan, arm) for arm in arms})
    return RegimeMap(
        rows=tuple(rows),
        flips=tuple(flips),
        margin=plan.margin,
        unit=plan.short_unit,
        sentences=tuple(said),
    )


def strength(recipe: Recipe) -> float:
    """Return the largest p of a recipe.

    >>> strength(Recipe(name="mine", dropout={"all": 0.2, "embedding": 0.1}))
    0.2
    """
    return max(recipe.dropout.values(), default=0.0)


def _check(points: Sequence[MapPoint]) -> None:
    if len(points) < 2:
        raise UsageError(
            f"A map needs studies of at least two amounts of data; got {len(points)}. Pass more."
        )
    first = points[0].study.plan
    for point in points[1:]:
        plan = point.study.plan
        ours, theirs = ([arm.name for arm in each.arms] for each in (first, plan))
        if ours != theirs or (first.margin, first.baseline) != (plan.margin, plan.baseline):
            raise UsageError(
                "The studies of a map have the same arms, baseline and margin; "
                f"`{point.study.folder}` has {', '.join(theirs)} at margin {plan.margin:g}, the "
                f"first one {', '.join(ours)} at {first.margin:g}. Leave it out."
            )


def _row(point: MapPoint) -> MapRow:
    study, plan = point.study, point.study.plan
    verdict = judge(study)
    arms = {each.arm: each for each in verdict.best}
    dropping = [arm for arm in plan.arms if arm.name in arms and strength(arm) > 0]
    changes = {arm.name: _validation_change(study, arm.name) for arm in dropping}
    if not changes or all(math.isinf(change) for change in changes.values()):
        raise UsageError(
            f"A map compares dropout with none; `{study.folder}` has no complete pair of both. "
            "Run the study first."
        )
    if verdict.regime.epochs is None:
        raise UsageError(f"`{study.folder}` does not record how often its data were read.")
    best = min(dropping, key=lambda arm: changes[arm.name])
    return MapRow(
        unique=point.unique,
        parameters=point.parameters,
        epochs=verdict.regime.epochs,
        state=verdict.regime.state,
        best=best.name,
        label=describe_arm(plan, best.name),
        best_p=strength(best) if changes[best.name] < 0 else 0.0,
        comparison=arms[best.name],
        arms=arms,
    )


def _validation_change(study: Study, arm: str) -> float:
    """Return the mean paired change in what arms are chosen by; infinite where a run diverged."""
    if study.diverged(arm):
        return math.inf
    ours, theirs = chosen_losses(study, arm), chosen_losses(study, study.plan.baseline)
    found = summarize(list(paired_differences(ours, theirs).values()))
    return math.inf if found is None else found.mean


def _flips(arm: str, rows: Sequence[MapRow]) -> list[Flip]:
    found = []
    for fewer, more in pairwise(rows):
        before, after = fewer.arms[arm].difference, more.arms[arm].difference
        if before is None or after is None or (before.mean < 0) == (after.mean < 0):
            continue
        share = before.mean / (before.mean - after.mean)
        found.append(
            Flip(
                arm=arm,
                parameters=fewer.parameters,
                fewer=fewer.epochs,
                more=more.epochs,
                at=fewer.epochs * (more.epochs / fewer.epochs) ** share,
                pays_beyond=after.mean < 0,
                is_certain=_excludes_zero(before) and _excludes_zero(after),
            )
        )
    return found


def _excludes_zero(difference: Difference) -> bool:
    wide = difference.half_width
    return wide is not None and abs(difference.mean) > wide


def _say_row(row: MapRow, unit: str) -> str:
    size = "" if row.parameters is None else f"{row.parameters:,} parameters, "
    difference = row.comparison.difference
    if difference is None:  # there is nothing of which to say that it is inconclusive
        return capital(f"{size}{say_epochs(row.epochs)}: {row.label} has no complete pair.")
    change = f"{plus_minus(difference.mean, difference.half_width, plus=True)} {unit}"
    outcome = {
        Outcome.BETTER: "it pays",
        Outcome.WORSE: "it costs",
        Outcome.SAME: "no difference that matters",
        Outcome.INCONCLUSIVE: "inconclusive",
    }[row.comparison.outcome]
    return capital(f"{size}{say_epochs(row.epochs)}: {row.label} {change}, {outcome}.")


def _say_flips(flips: Sequence[Flip], rows: Sequence[MapRow], labels: dict[str, str]) -> list[str]:
    said = []
    for flip in flips:
        size = "" if flip.parameters is None else f" at {flip.parameters:,} parameters"
        doubt = "" if flip.is_certain else "; the intervals do not settle both signs"
        turn = "begins to pay" if flip.pays_beyond else "stops paying"
        turn = turn if flip.is_certain else f"perhaps {turn}"
        said.append(
            capital(
                f"{labels[flip.arm]}{size} {turn} between {flip.fewer:.3g} and {flip.more:.3g} "
                f"epochs: the means cross zero at about {flip.at:.2g}{doubt}."
            )
        )
    turned = [f"{row.epochs:.3g}" for row in rows if row.state == "passed its minimum"]
    if turned:
        said.append(f"The baseline passed its own minimum at {listing(turned)} epochs.")
    return said
