"""How numbers and arms are said in words, the same in verdict, table and figures."""

import math
from statistics import fmean

from redrop.study.records import Study
from redrop.study.schema import StudyPlan
from redrop.study.statistics import FEWEST_PAIRS, MOST_PAIRS


def signed(value: float, decimals: int = 3, *, plus: bool = False) -> str:
    """Return a number with a true minus sign, and a plus where asked.

    >>> signed(-0.1468), signed(0.1468, plus=True), signed(-0.0001)
    ('−0.147', '+0.147', '0.000')
    """
    text = f"{abs(value):.{decimals}f}"
    if not float(text):
        return text
    return ("−" if value < 0 else "+" if plus else "") + text


def decimals_for(half_width: float | None) -> int:
    """Return the decimals that show an interval: one digit of its half-width, two if it is 1.

    Never fewer than 3, the decimals of the losses beside it, and never more than 5.

    >>> decimals_for(0.012), decimals_for(0.006), decimals_for(0.0012), decimals_for(None)
    (3, 3, 4, 3)
    """
    if not half_width:
        return 3
    return min(5, max(3, -math.floor(math.log10(half_width / 2))))


def plus_minus(mean: float, half_width: float | None, *, plus: bool = False) -> str:
    """Return "mean ± half-width" at matching decimals, or the mean alone.

    >>> plus_minus(-0.1468, 0.0123), plus_minus(0.02, None, plus=True)
    ('−0.147 ± 0.012', '+0.020')
    """
    decimals = decimals_for(half_width)
    text = signed(mean, decimals, plus=plus)
    return text if half_width is None else f"{text} ± {half_width:.{decimals}f}"


def say_epochs(epochs: float) -> str:
    """Return how often data are read.

    >>> say_epochs(1.0), say_epochs(62.54)
    ('1 epoch', '62.5 epochs')
    """
    text = f"{epochs:.3g}"
    return f"{text} epoch{'' if text == '1' else 's'}"


def count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> count(1, "seed"), count(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def capital(text: str) -> str:
    """Return the text with its first letter large, the rest as it is."""
    return text[:1].upper() + text[1:]


def listing(parts: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def describe_arm(plan: StudyPlan, name: str) -> str:
    """Return an arm's label, or its name where it has none."""
    return plan.arm(name).label or name


def say_divergence(study: Study, arm: str) -> str:
    """Return when the loss of an arm's diverged runs broke down, from the steps recorded."""
    ends = (study.of_arm(arm)[seed].end for seed in study.diverged(arm))
    steps = sorted({end.steps for end in ends if end is not None})
    if steps == [0]:
        return "the loss was NaN or infinite from the first step on"
    places = f"step {steps[0]:,}" if len(steps) == 1 else f"steps {steps[0]:,} to {steps[-1]:,}"
    return f"the loss was NaN or infinite after {places}"


def say_no_pair(study: Study, arm: str) -> str:
    """Say why there is no difference between an arm and the baseline: not yet, or not at all."""
    baseline = study.plan.baseline
    if any(name in (arm, baseline) for name, _ in study.missing):
        return "no seed is complete in this arm and in the baseline yet."
    why = "the baseline diverged" if study.diverged(baseline) else "no seed has a loss in both"
    lost = study.diverged(arm)
    if not lost:
        return f"there is nothing to compare, since {why}."
    runs = count(len(study.of_arm(arm)), "run")
    return (
        f"there is nothing to compare, since {why}. {len(lost)} of {runs} of this arm diverged, "
        f"too: {say_divergence(study, arm)}."
    )


def say_alone(study: Study) -> str:
    """Say what a study without a second arm came to: there is nothing to judge."""
    plan = study.plan
    ends = [run.end for run in study.of_arm(plan.baseline).values() if run.end is not None]
    losses = [e.best_validation_loss for e in ends if e.best_validation_loss is not None]
    said = "no run is complete"
    if losses:
        mean = f", mean of {len(losses)} seeds" if len(losses) > 1 else ""
        said = f"best validation loss {signed(fmean(losses))} {plan.short_unit}{mean}"
    elif ends:
        said = f"diverged, {say_divergence(study, plan.baseline)}"
    label = capital(describe_arm(plan, plan.baseline))
    return f"{label} alone: {said}; nothing to compare it with."


def say_open(number: int, arms: int) -> str:
    """Say how many of several arms are still open, with the verb of what they may do.

    >>> say_open(3, 3), say_open(1, 3)
    ('all 3 arms may still beat', '1 of 3 arms may still beat, and the others do not beat,')
    """
    if number == arms:
        return f"all {arms} arms may still beat"
    rest = "the other does" if arms - number == 1 else "the others do"
    return f"{number} of {arms} arms may still beat, and {rest} not beat,"


def say_more_seeds(seeds: int | None, pairs: int) -> str:
    """Say how many more seeds would settle a comparison, from what `further_seeds` returned.

    The spread of 2 or 3 pairs is too poorly known to plan with.

    >>> say_more_seeds(59, 2)
    '2 seeds cannot say how many it takes; run at least 2 more.'
    >>> say_more_seeds(24, 4)
    'about 24 more seeds would settle it.'
    """
    if pairs < FEWEST_PAIRS:
        more = FEWEST_PAIRS - pairs
        return f"{count(pairs, 'seed')} cannot say how many it takes; run at least {more} more."
    if seeds is None:
        return f"with such a mean and spread, even {MOST_PAIRS} seeds would hardly settle it."
    return f"about {count(seeds, 'more seed')} would settle it."
