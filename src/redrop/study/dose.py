"""Third stage: how strong. The factors that matter, together, at several strengths."""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

import numpy as np

from redrop.study.records import Study
from redrop.study.stage import FULL_CONFIRMATION, Journal, Stage, chosen_losses, none_recipe
from redrop.study.statistics import paired_differences
from redrop.study.wording import count, plus_minus, signed
from redrop.train.recipe import EVERYWHERE, Recipe, Setting, compose
from redrop.train.recipe_word import SITES, parse_recipe

STRENGTHS = (0.1, 0.2, 0.3, 0.05, 0.5)
"""Values of p, in the order in which a budget buys them."""

MULTIPLES = (1.0, 0.5, 2.0)
"""Of the high level, where no dropout is among the factors, in the same order."""

_FEWEST_POINTS = 4
_MOST_RUNGS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Dose:
    """One strength and what it changed against no dropout at the same seeds.

    Args:
        strength: p, or the multiple of the high level.
        recipe: That was run.
        differences: In best validation loss, one per seed.
        diverged: Whether any of its runs diverged; it then cannot win.
    """

    strength: float
    recipe: Recipe
    differences: tuple[float, ...]
    diverged: bool = False

    @property
    def mean(self) -> float:
        """Mean difference; infinite for a strength that diverged or was not seen."""
        return math.inf if self.diverged or not self.differences else fmean(self.differences)


@dataclass(frozen=True, kw_only=True, slots=True)
class DoseCurve:
    """A parabola through the doses, with the strengths between which it is flat.

    Args:
        coefficients: Of 1, p and p².
        best: Strength at its lowest point.
        flat: Least and greatest strength at which it lies within the margin of its lowest point.
    """

    coefficients: tuple[float, float, float]
    best: float
    flat: tuple[float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dosed:
    """What the dose stage found; `winner` is None where no strength lowered the loss."""

    doses: tuple[Dose, ...]
    curve: DoseCurve | None
    winner: Recipe | None
    sentences: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the curve for machines."""
        return {
            "doses": [
                {
                    "strength": dose.strength,
                    "recipe": dose.recipe.name,
                    "differences": list(dose.differences),
                    "diverged": dose.diverged,
                }
                for dose in self.doses
            ],
            "curve": None if self.curve is None else asdict(self.curve),
            "winner": None if self.winner is None else self.winner.name,
        }


def strengths_of(factors: tuple[Recipe, ...]) -> tuple[tuple[float, Recipe], ...]:
    """Return the recipes of the factors together at rising strength, the most useful ones first.

    Dropout is given one p for all sites of all factors; what else they do stays at its high level.
    Without any dropout, their numbers are multiplied; a share below 1 stays below 1.

    >>> factors = (parse_recipe("embedding-0.1"), parse_recipe("weight_decay-1"))
    >>> [recipe.name for _, recipe in strengths_of(factors)][:2]
    ['embedding-0.1+weight_decay-1', 'embedding-0.2+weight_decay-1']
    >>> [recipe.name for _, recipe in strengths_of(factors[1:])]
    ['weight_decay-1', 'weight_decay-0.5', 'weight_decay-2']
    """
    sites = tuple(dict.fromkeys(site for factor in factors for site in factor.dropout))
    if sites:
        mixed = [factor for factor in factors if factor.dropout and not _only_drops(factor)]
        rest = [factor for factor in factors if not factor.dropout]
        # The p comes after the recipes that have one of their own, which it overrides.
        return tuple((p, _compose((*mixed, *_dropout(sites, p), *rest))) for p in STRENGTHS)
    found: dict[str, tuple[float, Recipe]] = {}
    for multiple in MULTIPLES:
        recipe = _compose(tuple(_scaled(factor, multiple) for factor in factors))
        found.setdefault(recipe.name, (multiple, recipe))
    return tuple(found.values())


def find_dose(
    journal: Journal, steps: int, factors: tuple[Recipe, ...]
) -> Generator[Stage, Study, Dosed]:
    """Run the strengths, then halve those in doubt over further seeds while the share lasts.

    Every rung runs at the full length and with seeds that nothing was chosen by before. The
    strength with the lowest mean wins. Its gain is flattered, since it is the best of several: of
    k arms without any difference, seen at n seeds, the best one seems better by about the expected
    maximum of k normal variables over the root of n, 1.2 standard deviations for 5 arms and one
    seed. So nothing is claimed of it here; the confirmation uses other seeds.
    """
    candidates = strengths_of(factors)
    account = journal.account
    allowed = min(account.runs(steps, "dose", "confirm"), account.runs(steps) - FULL_CONFIRMATION)
    if allowed < 3 or len(candidates) < 2:
        journal.drop(
            "the dose curve",
            f"the budget pays for {max(0, allowed)} runs of {steps:,} steps beside the "
            "confirmation, and a curve takes 3 at least; the first strength is confirmed as it is",
        )
        return Dosed(doses=(), curve=None, winner=candidates[0][1], sentences=())
    running = candidates[: allowed - 1]
    for strength, recipe in candidates[allowed - 1 :]:
        journal.drop(recipe.label, f"the budget pays for fewer strengths than {strength:g}")
    doses = {s: Dose(strength=s, recipe=recipe, differences=()) for s, recipe in running}
    left, strengths = allowed, sorted(doses)
    for rung in range(1, _MOST_RUNGS + 1):
        seeds = min(2, left // (len(strengths) + 1))
        if seeds < 1 or len(strengths) < (1 if rung == 1 else 2):
            break
        stage = _stage(journal, [doses[s].recipe for s in strengths], seeds, steps, rung)
        study = yield journal.enter(stage)
        journal.close(study)
        left -= stage.runs
        doses |= {s: _with_study(doses[s], study) for s in strengths}
        strengths = _in_doubt(doses, strengths, journal)
    return _choose(journal, doses)


def fit_curve(doses: Sequence[Dose], margin: float) -> DoseCurve | None:
    """Return the parabola through the means, no dropout at 0 included, or None where none fits.

    It makes sense with four strengths or more beside 0, if it is curved upwards, has its lowest
    point between the strengths, and passes each mean within the margin or twice the standard error.
    """
    seen = [dose for dose in doses if math.isfinite(dose.mean)]
    if len(seen) < _FEWEST_POINTS:
        return None
    places = np.array([0.0, *(dose.strength for dose in seen)])
    means = np.array([0.0, *(dose.mean for dose in seen)])
    powers = np.vander(places, 3, increasing=True)
    (constant, slope, bend), *_ = np.linalg.lstsq(powers, means, rcond=None)
    if bend <= 0:
        return None
    best, last = float(-slope / (2 * bend)), float(places.max())
    errors = [0.0, *(_standard_error(dose.differences) for dose in seen)]
    misses = np.abs(powers @ np.array([constant, slope, bend]) - means)
    if not 0 < best < last or any(
        miss > max(margin, 2 * error) for miss, error in zip(misses, errors, strict=True)
    ):
        return None
    reach = math.sqrt(margin / float(bend))
    return DoseCurve(
        coefficients=(float(constant), float(slope), float(bend)),
        best=best,
        flat=(max(0.0, best - reach), min(last, best + reach)),
    )


def _standard_error(differences: Sequence[float]) -> float:
    if len(differences) < 2:
        return 0.0
    return float(np.std(differences, ddof=1)) / math.sqrt(len(differences))


def _only_drops(factor: Recipe) -> bool:
    return not (factor.model or factor.train or factor.augment)


def _dropout(sites: tuple[str, ...], p: float) -> tuple[Recipe, ...]:
    """Return one recipe per site with that p; all five elementwise sites are "all"."""
    elementwise = [site for site in SITES if site not in (EVERYWHERE, "pre_activation")]
    if set(elementwise) <= set(sites):
        sites = (EVERYWHERE, *(site for site in sites if site not in elementwise))
    return tuple(_at(site, p) for site in sites)


def _at(site: str, p: float) -> Recipe:
    if "*" in site or "." in site:  # a pattern of site names, which is no word
        return Recipe(name=f"{site}-{p:g}", label=f"dropout {p:g} on {site}", dropout={site: p})
    return parse_recipe(f"{site}-{p:g}")


def _compose(parts: tuple[Recipe, ...]) -> Recipe:
    return compose(parts, "+".join(part.name for part in parts))


def _scaled(factor: Recipe, multiple: float) -> Recipe:
    """Return the factor with its numbers multiplied, named by its new values."""
    train = {key: _multiplied(value, multiple) for key, value in factor.train.items()}
    augment = {key: _multiplied(value, multiple) for key, value in factor.augment.items()}
    if train == dict(factor.train) and augment == dict(factor.augment):
        return factor
    said = {**factor.model, **train, **augment}
    return Recipe(
        name="+".join(f"{key}-{value}" for key, value in said.items()),
        label=", ".join(f"{key.replace('_', ' ')} {value}" for key, value in said.items()),
        model=factor.model,
        train=train,
        augment=augment,
    )


def _multiplied(value: Setting, multiple: float) -> Setting:
    if isinstance(value, (bool, str)):
        return value
    larger = float(f"{value * multiple:.3g}")
    if value < 1 <= larger:  # a probability or a share
        return value
    return int(larger) if larger == int(larger) else larger


def _stage(journal: Journal, recipes: list[Recipe], seeds: int, steps: int, rung: int) -> Stage:
    if rung == 1:
        reason = (
            f"The factors that were kept, together, at {len(recipes)} strengths, against no "
            "dropout."
        )
    else:
        reason = (
            f"{len(recipes)} strengths are too close to choose between: the better half again, at "
            "further seeds and the full length."
        )
    return Stage(
        name="3-dose" if rung == 1 else f"3-dose-{rung}",
        kind="dose",
        arms=(none_recipe(), *recipes),
        seeds=journal.fresh_seeds(seeds),
        steps=steps,
        reason=reason,
    )


def _with_study(dose: Dose, study: Study) -> Dose:
    ours, theirs = chosen_losses(study, dose.recipe.name), chosen_losses(study, "none")
    return Dose(
        strength=dose.strength,
        recipe=dose.recipe,
        differences=(*dose.differences, *paired_differences(ours, theirs).values()),
        diverged=dose.diverged or bool(study.diverged(dose.recipe.name)),
    )


def _in_doubt(doses: Mapping[float, Dose], strengths: list[float], journal: Journal) -> list[float]:
    """Return the better half of the strengths, as far as they are within noise of the best.

    Noise is the standard error of the difference of two means, pooled over the strengths, or the
    margin where one seed each tells nothing of it.
    """
    ranked = sorted(strengths, key=lambda s: (doses[s].mean, s))
    best = doses[ranked[0]]
    samples = [doses[s].differences for s in ranked if len(doses[s].differences) > 1]
    error = journal.settings.margin
    if samples:
        variance = fmean(float(np.var(sample, ddof=1)) for sample in samples)
        error = math.sqrt(2 * variance / max(1, len(best.differences)))
    better_half = ranked[: max(2, math.ceil(len(ranked) / 2))]
    kept = [s for s in better_half if doses[s].mean - best.mean <= error]
    for s in ranked:
        if s not in kept:
            journal.drop(doses[s].recipe.label, _why_dropped(doses[s]))
    return kept


def _why_dropped(dose: Dose) -> str:
    if dose.diverged:
        return "a run of it diverged"
    seeds = count(len(dose.differences), "seed")
    return f"{signed(dose.mean, plus=True)} against no dropout over {seeds}; others were better"


def _choose(journal: Journal, doses: Mapping[float, Dose]) -> Dosed:
    """Take the lowest mean among the strengths that were not dropped, which have the most seeds."""
    ordered = tuple(doses[s] for s in sorted(doses))
    most = max(len(dose.differences) for dose in ordered)
    best = min(
        (dose for dose in ordered if len(dose.differences) == most),
        key=lambda dose: (dose.mean, dose.strength),
    )
    margin = journal.settings.margin
    curve = fit_curve(ordered, margin)
    said = [
        "Strengths against no dropout, best validation loss: "
        + ", ".join(_say_dose(dose) for dose in ordered)
        + "."
    ]
    if curve is not None:
        said.append(
            f"A parabola through them is lowest at {curve.best:.2g} and within {margin:g} of that "
            f"from {curve.flat[0]:.2g} to {curve.flat[1]:.2g}."
        )
    if not best.mean < 0:
        journal.drop(best.recipe.label, "no strength lowered the loss")
        return Dosed(doses=ordered, curve=curve, winner=None, sentences=tuple(said))
    return Dosed(doses=ordered, curve=curve, winner=best.recipe, sentences=tuple(said))


def _say_dose(dose: Dose) -> str:
    if not math.isfinite(dose.mean):
        return f"{dose.strength:g} diverged"
    return f"{dose.strength:g} {plus_minus(dose.mean, None, plus=True)} ({len(dose.differences)})"
