"""What it costs to judge a study once more: planned looks share the error, others add to it.

Planned looks divide the error α = 1 - confidence among them, so that all hold together. Who adds
seeds that nobody planned has been told something at α already; that cannot be taken back, and no
later report can hold at 1 - α together with it. So a look that was not planned is judged far more
strictly, at α/4, then α/8, α/16 …, and the report names what all looks together may err: α + α/2,
α + α/2 + α/4 …, in the end less than 2α.

Each of them is counted at twice the error it is judged at. For looks at fixed numbers of seeds
their plain sum would do; but the number of added seeds is chosen by what was seen, and a choice
made to deceive comes near to doubling the error of the next look: simulated with 4 pairs, from
1.25 % to 2.0 % (with 2 pairs, 2.5 %). For a single test Proschan & Hunsberger derive 5 % -> 11 %.

References:
    Proschan & Hunsberger, "Designed extension of studies based on conditional power", Biometrics
    51 (1995).
"""

from dataclasses import replace

from redrop.study.schema import StudyPlan
from redrop.study.wording import count

_FIRST_DIVISOR = 4
_COUNTED = 2


def continue_looks(ours: StudyPlan, recorded: StudyPlan) -> StudyPlan:
    """Return our plan, which adds seeds to the recorded one, with the look that this makes.

    A look is planned where both plan the same number of several looks. One seed has no interval, so
    nothing was promised from it and nothing is spent.
    """
    if len(recorded.seeds) == 1:
        return ours
    if ours.looks == recorded.looks > 1 and not recorded.spent:
        return replace(ours, spent=recorded.spent)
    return replace(ours, looks=_next_divisor(recorded), spent=error_of_all(recorded))


def further_tests(plan: StudyPlan, tests: int) -> int:
    """Return by how much the error is divided when more seeds are judged, given that of this look.

    Several planned looks are taken to go on; any other further look is not planned.
    """
    is_planned = plan.looks > 1 and not plan.spent
    return tests if is_planned else tests // plan.looks * _next_divisor(plan)


def error_of_all(plan: StudyPlan) -> float:
    """Return in which share of such studies an interval of any report, so far, may be wrong.

    A plan of before unplanned looks were told apart divided α by the number of the look: in the
    worst case α (1 + 1/2 + 1/3 …) were spent.
    """
    error = 1 - plan.confidence
    if plan.spent is None:
        error *= sum(1 / look for look in range(1, plan.looks + 1))
    elif plan.spent:
        error = plan.spent + _COUNTED * error / plan.looks
    return round(error, 12)


def say_looks(plan: StudyPlan, comparisons: int) -> str:
    """Return the sentence on how sure the intervals are: of this look, and of all looks together.

    Args:
        plan: Of the study.
        comparisons: Arms that are compared with the baseline.
    """
    share, together = _percent(plan.confidence), _percent(1 - error_of_all(plan))
    of = f"for {count(comparisons, 'comparison')}"
    if plan.spent:
        return (
            "This look was not planned: seeds were added to a study that could be judged at "
            f"{share} before. The intervals are wider for it, and those of all its reports, "
            f"earlier ones included, hold together at {together} {of}."
        )
    if plan.looks == 1:
        return f"The intervals hold together at {share} {of}."
    if plan.spent is None:
        return (
            f"The intervals hold together at {share} {of} if all {plan.looks} looks were planned, "
            f"which this older record does not say; else at {together}."
        )
    return f"The intervals hold together at {share} {of} at {plan.looks} planned looks."


def _next_divisor(plan: StudyPlan) -> int:
    return max(_FIRST_DIVISOR, 2 * plan.looks)


def _percent(share: float) -> str:
    return f"{100 * share:.5g} %"
