"""What kind of run the baseline was: whether it overfits, has come to a halt or still improves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean, median

from redrop.study.records import RunRecord, Study
from redrop.study.wording import describe_arm, signed

# A best step in the last tenth of a run is taken for "still falling".
_WELL_BEFORE_THE_END = 0.9


@dataclass(frozen=True, kw_only=True, slots=True)
class Regime:
    """What kind of run the baseline was; `state` is None where no baseline run is complete.

    Args:
        epochs: Targets seen per target of the training data, None where the plan does not say.
        state: "passed its minimum", "level" or "still falling".
        best_step: Median over the seeds, as is `steps`.
        rise: Final minus best validation loss, mean over the seeds.
    """

    epochs: float | None = None
    state: str | None = None
    best_step: int | None = None
    steps: int | None = None
    rise: float | None = None
    gap_at_best: float | None = None
    gap_at_end: float | None = None
    sentence: str = "The regime is unknown: no run of the baseline has a finite loss."


def regime_of(study: Study) -> Regime:
    """Return the regime in which a study found what it found."""
    runs = study.of_arm(study.plan.baseline)
    lost = study.diverged(study.plan.baseline)
    kept = [run for seed, run in runs.items() if seed not in lost]
    ends = [run.end for run in kept if run.end is not None and run.end.best_step is not None]
    rises = [
        end.final_validation_loss - end.best_validation_loss
        for end in ends
        if end.final_validation_loss is not None and end.best_validation_loss is not None
    ]
    if not rises:
        return Regime()
    best_step = round(median(end.best_step for end in ends if end.best_step is not None))
    steps, rise = round(median(end.steps for end in ends)), fmean(rises)
    state = "passed its minimum" if rise > study.plan.margin else "level"
    if is_still_falling(kept):
        state = "still falling"
    unique = study.plan.settings.get("data", {}).get("train_targets")
    epochs = fmean(end.tokens for end in ends) / unique if unique else None
    bare = Regime(
        epochs=epochs,
        state=state,
        best_step=best_step,
        steps=steps,
        rise=rise,
        gap_at_best=_mean_gap([(run, run.end.best_step) for run in kept if run.end]),
        gap_at_end=_mean_gap([(run, run.evals[-1].step) for run in kept if run.evals]),
    )
    return replace(bare, sentence=_say_regime(bare, study))


def _mean_gap(places: list[tuple[RunRecord, int | None]]) -> float | None:
    lines = [run.at(step) for run, step in places]
    gaps = [line.gap for line in lines if line is not None and line.gap is not None]
    return fmean(gaps) if gaps else None


def _say_regime(regime: Regime, study: Study) -> str:
    """Return the sentence on the regime from a regime that has a state."""
    baseline = describe_arm(study.plan, study.plan.baseline)
    seen = ""
    if regime.epochs is not None:
        times = f"{regime.epochs:.0f}" if regime.epochs >= 10 else f"{regime.epochs:.2g}"
        seen = f" saw its training data {times} times and"
    place = f"step {regime.best_step:,} of {regime.steps:,}"
    rise, unit = signed(regime.rise or 0.0), study.plan.short_unit
    tale = {
        "passed its minimum": (
            f"passed its own minimum: best at {place}, then {rise} {unit} worse by the end. "
            "It overfits, which is where dropout can pay"
        ),
        "level": (
            f"came to a halt: best at {place}, and within {study.plan.margin:g} {unit} of it at "
            "the end. It hardly overfits"
        ),
        "still falling": (
            f"was still improving: best at {place}. It is limited by its training, not by "
            "overfitting, and a longer run may end otherwise"
        ),
    }[regime.state or "level"]
    gap = ""
    if regime.gap_at_best is not None:
        gap = f" (gap to training data {signed(regime.gap_at_best)} {unit} at the best checkpoint)"
    who = "The baseline" if len(study.plan.arms) > 1 else "The only arm"
    return f"{who} ({baseline}){seen} {tale}{gap}."


def is_still_falling(runs: Sequence[RunRecord]) -> bool:
    """Say whether the best step lies in the last tenth of the run, for the median seed."""
    ends = [run.end for run in runs if run.end is not None and run.end.best_step is not None]
    places = [end.best_step / end.steps for end in ends if end.best_step is not None and end.steps]
    return bool(places) and median(places) > _WELL_BEFORE_THE_END
