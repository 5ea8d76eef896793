"""Second stage: many factors at once in a fractional factorial design."""

from collections.abc import Generator
from dataclasses import asdict, dataclass
from typing import Any

from redrop.study.effects import Effect, Effects, estimate_effects
from redrop.study.factorial import LETTERS, Design, Row, fitting_design
from redrop.study.records import Study
from redrop.study.stage import (
    FULL_CONFIRMATION,
    Journal,
    Stage,
    chosen_losses,
    none_recipe,
)
from redrop.study.wording import capital, count, plus_minus
from redrop.train.recipe import Recipe, compose

MOST_KEPT = 4
"""Factors that go on to the dose curve."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Screened:
    """What a screening found.

    Args:
        design: The runs.
        factors: By letter, as far as they were screened.
        effects: Of each factor and of the interactions.
        kept: The factors that go on, the largest gain first.
        diverged: Names of runs that diverged; they were given the worst loss of the others.
        sentences: What was done and found, in plain words.
    """

    design: Design
    factors: tuple[Recipe, ...]
    effects: Effects
    kept: tuple[Recipe, ...]
    diverged: tuple[str, ...]
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the screening for machines, with the points of a half-normal plot."""
        return {
            "factors": [factor.name for factor in self.factors],
            "generators": list(self.design.generators),
            "resolution": self.design.resolution,
            "runs": len(self.design.rows),
            "lost": list(self.design.lost),
            "effects": asdict(self.effects),
            "half_normal": [list(point) for point in self.effects.half_normal()],
            "kept": [factor.name for factor in self.kept],
            "diverged": list(self.diverged),
        }


def row_recipe(row: Row, factors: tuple[Recipe, ...]) -> Recipe:
    """Return the recipe of one run of a design: all that is high in it, composed.

    >>> from redrop.train.recipe_word import parse_recipe
    >>> factors = (parse_recipe("embedding-0.1"), parse_recipe("weight_decay-1"))
    >>> recipe = row_recipe(Row((True, True), 0), factors)
    >>> recipe.name, recipe.label
    ('screen-ab', 'dropout 0.1 on the embedding, weight decay 1')
    >>> row_recipe(Row((False, False), 0), factors).name
    'none'
    """
    high = tuple(factor for factor, is_high in zip(factors, row.high, strict=True) if is_high)
    return compose(high, f"screen-{row.name}") if high else none_recipe()


def screen(journal: Journal, steps: int) -> Generator[Stage, Study, Screened | None]:
    """Run the largest design that the screen's share pays for; None where it pays for none.

    Each block is a study of its own folder, with one seed for all of its runs.
    """
    factors, account = journal.settings.factors, journal.account
    allowed = min(
        account.runs(steps, "screen", "dose", "confirm"), account.runs(steps) - FULL_CONFIRMATION
    )
    design = fitting_design(len(factors), allowed)
    if design is None:
        if len(factors) > 1:
            journal.drop(
                f"the screening of {count(len(factors), 'factor')}",
                f"it takes 8 runs of {steps:,} steps at least, and the budget pays for "
                f"{max(0, allowed)} beside the confirmation; fewer runs, not shorter ones",
            )
        return None
    for factor in factors[design.factors :]:
        journal.drop(
            factor.label or factor.name,
            f"the budget pays for a screening of {len(design.rows)} runs, which holds "
            f"{design.factors} factors; this one came later in the list",
        )
    screened = factors[: design.factors]
    studies = []
    for block in range(design.blocks):
        arms = tuple(row_recipe(row, screened) for row in design.of_block(block))
        study = yield journal.enter(_stage(journal, design, block, arms, steps))
        journal.close(study)
        studies.append(study)
    return _evaluate(journal, design, screened, studies)


def _stage(
    journal: Journal, design: Design, block: int, arms: tuple[Recipe, ...], steps: int
) -> Stage:
    # The baseline and each factor alone, as often as a factor is high or low here.
    alone = (design.factors + 1) * len(design.rows) // 2
    return Stage(
        name=f"2-screen-{block + 1}",
        kind="screen",
        arms=arms,
        seeds=journal.fresh_seeds(1),
        steps=steps,
        reason=(
            f"{design.factors} factors at once in {len(design.rows)} runs (one factor at a time "
            f"would take {alone} for the same precision); block {block + 1} of {design.blocks}, "
            "with a seed of its own."
        ),
    )


def _evaluate(
    journal: Journal, design: Design, factors: tuple[Recipe, ...], studies: list[Study]
) -> Screened:
    found: list[float | None] = []
    names = []
    for row in design.rows:
        arm = row_recipe(row, factors).name
        names.append(f"{arm} (block {row.block + 1})")
        found.append(next(iter(chosen_losses(studies[row.block], arm).values()), None))
    finite = [loss for loss in found if loss is not None]
    worst = max(finite, default=0.0)
    effects = estimate_effects(design, [worst if loss is None else loss for loss in found])
    diverged = tuple(name for name, loss in zip(names, found, strict=True) if loss is None)
    kept = _choose(journal, factors, effects)
    return Screened(
        design=design,
        factors=factors,
        effects=effects,
        kept=kept,
        diverged=diverged,
        sentences=tuple(_sentences(design, factors, effects, diverged)),
    )


def _choose(journal: Journal, factors: tuple[Recipe, ...], effects: Effects) -> tuple[Recipe, ...]:
    """Keep the factors that seem to gain the margin, the largest gains first; drop the others.

    A screening claims nothing: what it keeps is confirmed on other seeds. So a factor whose
    interval is wide may go on, and only one that shows no gain worth having is dropped.
    """
    margin = journal.settings.margin
    ranked = sorted(zip(factors, effects.main, strict=True), key=lambda pair: pair[1].mean)
    kept = [factor for factor, effect in ranked if effect.mean <= -margin and effect.mean < 0]
    for factor, effect in ranked:
        if factor not in kept[:MOST_KEPT]:
            why = _why_dropped(effect, margin, is_kept=factor in kept)
            journal.drop(factor.label or factor.name, why)
    return tuple(kept[:MOST_KEPT])


def _why_dropped(effect: Effect, margin: float, *, is_kept: bool) -> str:
    change = f"{plus_minus(effect.mean, effect.half_width, plus=True)} from low to high"
    if is_kept:
        return f"its gain ({change}) is smaller than that of {MOST_KEPT} others"
    if effect.low >= margin and effect.low > 0:
        return f"it makes the loss worse: {change}"
    if -margin < effect.low and effect.high < margin:
        return f"it makes no difference that matters: {change}"
    return f"no gain of {margin:g} was seen: {change}"


def _sentences(
    design: Design, factors: tuple[Recipe, ...], effects: Effects, diverged: tuple[str, ...]
) -> list[str]:
    rules = f" with {', '.join(design.generators)}" if design.generators else ""
    kind = f"resolution {design.resolution}{rules}" if rules else "a full factorial"
    key = "; ".join(
        f"{letter} {factor.label or factor.name}"
        for letter, factor in zip(LETTERS, factors, strict=False)
    )
    order = "four" if design.resolution == "V" else "three"
    said = [
        f"Screening: {len(design.rows)} runs in {count(design.blocks, 'block')}, {kind}. {key}.",
        "Changes from low to high, averaged over all other factors: "
        + ", ".join(f"{e.name} {plus_minus(e.mean, e.half_width, plus=True)}" for e in effects.main)
        + f" (95 % each, {effects.method}).",
    ]
    if design.generators:
        said.append(
            f"No effect of a factor coincides with an interaction of two, only with ones of "
            f"{order} or more factors, which are taken to be small."
        )
    groups = [group for group in design.interactions() if len(group) > 1]
    if groups:
        said.append(
            "Interactions of two coincide in groups and cannot be told apart: "
            + ", ".join("+".join(group) for group in groups)
            + "."
        )
    if design.lost:
        said.append(f"The difference between the seeds coincides with {' and '.join(design.lost)}.")
    if diverged:
        said.append(
            capital(
                f"{count(len(diverged), 'run')} diverged and counted as the worst of the others: "
                f"{', '.join(diverged)}."
            )
        )
    return said
