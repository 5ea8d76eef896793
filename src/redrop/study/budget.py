"""A budget for a study, and how it is shared out over the stages.

What a stage may cost is a number of whole runs: a shorter run is another experiment, so a small
budget buys fewer runs, never shorter ones.
"""

import re
from dataclasses import dataclass, replace
from typing import Literal

from redrop.errors import UsageError
from redrop.study.amounts import parse_amount, say_amount
from redrop.study.records import Study

Unit = Literal["seconds", "steps", "tokens"]

SHARES = {"baseline": 0.15, "screen": 0.45, "dose": 0.15, "confirm": 0.25}
"""Share of the budget per stage; what a stage leaves over goes to the later ones in proportion.

The screen gets most, since it decides among everything at once and 16 runs are its natural size.
With 35 runs in all these shares are 5 for the baseline (1 + 2 + ... doubling horizons), 16 for the
screen, 5 for the dose curve and 9 for the confirmation; before it spends, a stage leaves enough for
a confirmation that can settle anything (see `stages.CONFIRMING`).
"""

_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(s|sec|seconds|m|min|minutes|h|hours?|d|days?)")
_COUNT = re.compile(r"(.+?)\s*(steps?|tokens?)")
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a study may cost.

    Args:
        amount: Seconds on the clock, optimizer steps or tokens.
        unit: Which of them.
    """

    amount: float
    unit: Unit

    def __str__(self) -> str:
        return say_cost(self.amount, self.unit)


def parse_budget(text: str) -> Budget:
    """Return a budget from `10m`, `2h`, `90s`, `20000 steps` or `5M tokens`.

    Raises:
        UsageError: The text is none of these, or its amount is not positive.

    >>> parse_budget("10m"), parse_budget("5M tokens")
    (Budget(amount=600.0, unit='seconds'), Budget(amount=5000000.0, unit='tokens'))
    """
    typed = text.strip().lower()
    time = _TIME.fullmatch(typed)
    if time is not None and float(time[1]) > 0:
        return Budget(float(time[1]) * _SECONDS[time[2][0]], "seconds")
    count = _COUNT.fullmatch(typed)
    if count is not None:
        unit: Unit = "steps" if count[2].startswith("step") else "tokens"
        return Budget(float(parse_amount(count[1], "budget")), unit)
    raise UsageError(
        f"`budget` must be a time (90s, 10m, 2h), steps (20000 steps) or tokens (5M tokens); got "
        f"{text!r}."
    )


def say_cost(amount: float, unit: Unit) -> str:
    """Return an amount with its unit.

    >>> say_cost(45, "seconds"), say_cost(600, "seconds"), say_cost(9000, "seconds")
    ('45 s', '10 min', '2.5 h')
    >>> say_cost(20000, "steps"), say_cost(5e6, "tokens")
    ('20,000 steps', '5 M tokens')
    """
    if unit == "steps":
        return f"{amount:,.0f} steps"
    if unit == "tokens":
        return f"{say_amount(amount)} tokens"
    if amount < 100:
        return f"{amount:.3g} s"
    minutes = amount / 60
    return f"{minutes:.3g} min" if minutes < 100 else f"{minutes / 60:.3g} h"


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """What has been spent of a budget, and what a step costs.

    Time is counted as run-seconds: with w runs side by side, a budget of t seconds on the clock
    holds w t of them. The baseline alone does not fill all workers, so the clock may run a little
    over; a study that is judged never runs less than a whole number of pairs.

    Args:
        budget: What was asked for.
        total: Of the budget, in run-seconds, steps or tokens.
        per_step: What one optimizer step costs; None before the first run where it must be
            measured. It is that of the last finished stage.
        spent: By the finished stages.
    """

    budget: Budget
    total: float
    per_step: float | None
    spent: float = 0.0

    @property
    def left(self) -> float:
        """What is left; negative where a stage cost more than was expected of it."""
        return self.total - self.spent

    def after(self, study: Study) -> "Account":
        """Return the account after a finished stage, its own cost per step measured."""
        ends = [run.end for run in study.runs if run.end is not None]
        steps = sum(end.steps for end in ends)
        if self.budget.unit == "seconds":
            cost = sum(end.seconds for end in ends)
            rate = cost / steps if steps and cost > 0 else self.per_step
            return replace(self, spent=self.spent + cost, per_step=rate)
        return replace(self, spent=self.spent + steps * (self.per_step or 1.0))

    def runs(self, steps: int, *later: str) -> int:
        """Return how many runs of so many steps a stage may cost.

        Args:
            steps: Of one run.
            later: The stage, then the stages behind it, which share what is left by `SHARES`;
                with none, all that is left counts.
        """
        if self.per_step is None:
            return 0
        share = SHARES[later[0]] / sum(SHARES[name] for name in later) if later else 1.0
        # Half a per mille of room: 16 runs that cost 16.0001 are 16 runs.
        return max(0, int(self.left * share / (steps * self.per_step) + 5e-4))

    def say_needed(self, runs: int, steps: int, workers: int = 1) -> str:
        """Say which budget would pay for what was spent and for so many more runs."""
        needed = self.spent + runs * steps * (self.per_step or 0.0)
        if self.budget.unit == "seconds":
            needed /= workers
        return say_cost(1.1 * needed, self.budget.unit)


def open_account(
    budget: Budget,
    *,
    tokens_per_step: int | None,
    workers: int,
    seconds_per_step: float | None = None,
) -> Account:
    """Return the account of a budget of which nothing is spent.

    Args:
        budget: What was asked for.
        tokens_per_step: Sequences of a batch times their length; needed for a budget in tokens.
        workers: Runs side by side.
        seconds_per_step: A first guess, where there is one; the runs replace it.

    Raises:
        UsageError: A budget in tokens for a task that has none.
    """
    if budget.unit == "tokens" and not tokens_per_step:
        raise UsageError(
            "A budget in tokens needs a task on text; these data have none. Pass a time or steps."
        )
    rates = {"seconds": seconds_per_step, "steps": 1.0, "tokens": float(tokens_per_step or 0)}
    clocks = workers if budget.unit == "seconds" else 1
    return Account(budget=budget, total=budget.amount * clocks, per_step=rates[budget.unit])
