"""Whether training with dropout made networks robust: what it costs them to lose parts afterwards.

Dropout is said to force redundancy: a network that had to do without single connections should bear
their loss. Here that is measured. Trained networks are evaluated as in `evaluate`, but with dropout
left on at one kind of site, at rates that have nothing to do with those of their training:

    cost(p) = loss with dropout p at the site - loss without dropout

on the same validation batches, the mean over some draws of masks, which are the same for all arms
of a seed. It chooses nothing, and it leaves the test data unread.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

from torch import Tensor, nn

from redrop.errors import UsageError
from redrop.nn import attach
from redrop.nn.mc_dropout import dropout_on
from redrop.study.plan import PlannedRun, planned_runs
from redrop.study.records import Study
from redrop.study.run import load_planned_task
from redrop.study.statistics import Difference, paired_differences, paired_interval
from redrop.study.wording import describe_arm, plus_minus, signed
from redrop.tasks.load import AnyTask
from redrop.train.checkpoint import latest_checkpoint, read_checkpoint
from redrop.train.evaluate import evaluate
from redrop.train.recipe import Recipe
from redrop.train.task import Batch, PartName
from redrop.train.weights import get_weights, set_weights

PART: PartName = "validation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Cost:
    """What dropping at rate p costs the networks of one arm.

    Args:
        arm: Its name.
        label: In words.
        p: Of the evaluation, not of the training.
        losses: With it, by seed.
        costs: Above the loss without dropout, by seed.
        difference: Between these costs and those of the baseline; None for the baseline itself.
    """

    arm: str
    label: str
    p: float
    losses: Mapping[int, float]
    costs: Mapping[int, float]
    difference: Difference | None

    @property
    def mean(self) -> float:
        """Return the cost, mean over the seeds."""
        return fmean(self.costs.values())

    @property
    def said(self) -> str:
        """Return the cost as it is written."""
        return signed(self.mean)

    @property
    def compared(self) -> str:
        """Return the difference to the baseline with its interval; empty for the baseline."""
        if self.difference is None:
            return ""
        return plus_minus(self.difference.mean, self.difference.half_width, plus=True)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, the ends of the interval written out."""
        fields = {**asdict(self), "mean": self.mean}
        if self.difference is not None:
            fields["difference"] = self.difference.to_dict()
        return fields


@dataclass(frozen=True, kw_only=True, slots=True)
class Robustness:
    """What dropping at one kind of site costs the trained networks of a study.

    Args:
        study: Its name.
        site: A kind of site, a pattern of site names, or `all`.
        rates: At which was dropped.
        baseline: Arm that the others are compared with.
        unit: Of the loss, in short.
        draws: Masks per rate.
        costs: Of each arm at each rate, arms in the order of the study.
        missing: Runs that are not complete or diverged, have no checkpoint, or give no finite loss.
    """

    study: str
    site: str
    rates: tuple[float, ...]
    baseline: str
    unit: str
    draws: int
    costs: tuple[Cost, ...]
    missing: tuple[str, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """Return what it comes to, one sentence for each rate."""
        return tuple(self._say(p) for p in self.rates)

    def _say(self, p: float) -> str:
        at_p = [cost for cost in self.costs if cost.p == p]
        (baseline,) = (cost for cost in at_p if cost.arm == self.baseline)
        least = min(at_p, key=lambda cost: cost.mean)
        said = f"Dropping {self.site} at p = {p:g} costs {baseline.label} {baseline.said}"
        if len(at_p) == 1:
            return f"{said} {self.unit}."
        if least is baseline:
            return f"{said} {self.unit}, and every other arm more."
        return f"{said} and {least.label} {least.said} {self.unit}, the least: {least.compared}."

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for programs."""
        return {
            "kind": "robustness",
            "format": 1,
            **{name: getattr(self, name) for name in ("study", "site", "baseline", "unit")},
            "part": PART,
            "rates": list(self.rates),
            "draws": self.draws,
            "costs": [cost.to_dict() for cost in self.costs],
            "missing": list(self.missing),
            "sentences": list(self.sentences),
        }


def measure_robustness(
    study: Study,
    *,
    site: str,
    rates: Sequence[float],
    draws: int,
    observe: Callable[[PlannedRun], None],
) -> Robustness:
    """Evaluate the networks of every finished run of a study with dropout left on at a site.

    Args:
        study: With its records and checkpoints; the best weights of each run are taken.
        site: A kind of site (`attention_weights`), a pattern of site names, or `all`.
        rates: In (0, 1).
        draws: Masks at each rate; the loss is the mean over them.
        observe: Called with each run when it is done.

    Raises:
        UsageError: A rate or the number of draws is out of range, the networks lack the site, the
            data have changed, or the baseline has no checkpoint.
    """
    if not rates or any(not 0 < p < 1 for p in rates) or len(set(rates)) < len(rates):
        given = " ".join(f"{p:g}" for p in rates) or "none"
        raise UsageError(f"`rates` are different numbers in (0, 1); got {given}. Pass 0.1 0.3 0.5.")
    if draws < 1:
        raise UsageError(f"`draws` must be at least 1; got {draws}. Four are enough.")
    task = load_planned_task(study.plan)
    ended = {(run.header.arm, run.header.seed) for run in study.runs}
    lost = {(arm.name, seed) for arm in study.plan.arms for seed in study.diverged(arm.name)}
    found: dict[str, dict[int, _Losses]] = {}
    missing = []
    runs = planned_runs(study.plan)
    batches = task.part(PART, runs[0].train.eval_tokens)
    for run in runs:
        checkpoint = latest_checkpoint(study.folder / "checkpoints" / run.name)
        losses = None
        if checkpoint is not None and (run.arm.name, run.seed) in ended - lost:
            losses = _losses(task, run, batches, checkpoint, site, rates, draws)
        if losses is not None and all(map(math.isfinite, (losses.without, *losses.at.values()))):
            found.setdefault(run.arm.name, {})[run.seed] = losses
        else:
            missing.append(run.name)
        observe(run)
    if study.plan.baseline not in found:
        raise UsageError(
            f"`{study.folder}` holds no trained network of its baseline that can be measured: no "
            "run of it is complete and has its checkpoint. Repeat its command in a new folder."
        )
    return Robustness(
        study=study.plan.name,
        site=site,
        rates=tuple(rates),
        baseline=study.plan.baseline,
        unit=study.plan.short_unit,
        draws=draws,
        costs=tuple(_costs(study, found, rates)),
        missing=tuple(missing),
    )


class _Losses(NamedTuple):
    """Of one trained network: without dropout, and with it at each rate."""

    without: float
    at: Mapping[float, float]


def _losses(
    task: AnyTask,
    run: PlannedRun,
    batches: Sequence[Batch],
    checkpoint: Path,
    site: str,
    rates: Sequence[float],
    draws: int,
) -> _Losses:
    weights = read_checkpoint(checkpoint).tensors["best_weights"]
    precision = run.train.precision
    networks = {p: _network(task, run, {site: p}, weights) for p in rates}
    without = evaluate(task, networks[rates[0]], batches, precision).loss  # the same in all
    at = {}
    for p, network in networks.items():
        state = attach(network, seed=run.seed)
        drawn = []
        for draw in range(draws):
            state.set_step(draw)
            drawn.append(evaluate(task, network, batches, precision, mode=dropout_on).loss)
        at[p] = fmean(drawn)
    return _Losses(without, at)


def _network(
    task: AnyTask, run: PlannedRun, dropout: Mapping[str, float], weights: Mapping[str, Tensor]
) -> nn.Module:
    # What the arm did to its rates and its data is over; its network is what is looked at.
    settings = {name: value for name, value in run.arm.model.items() if name != "rates"}
    recipe = Recipe(name="robustness", dropout=dropout, model=settings)
    model = task.with_recipe(recipe, run.seed).build(run.seed)
    # Learned rates lie among the weights of their run; here the rate is given.
    set_weights(model, {name: weights[name] for name in get_weights(model) if name in weights})
    return model


def _costs(
    study: Study, found: Mapping[str, Mapping[int, _Losses]], rates: Sequence[float]
) -> Iterator[Cost]:
    plan = study.plan
    tests = max(1, (len(found) - 1) * len(rates))
    for arm, p in itertools.product(found, rates):
        costs, theirs = (
            {seed: losses.at[p] - losses.without for seed, losses in found[name].items()}
            for name in (arm, plan.baseline)
        )
        differences = [*paired_differences(costs, theirs).values()]
        yield Cost(
            arm=arm,
            label=describe_arm(plan, arm),
            p=p,
            losses={seed: losses.at[p] for seed, losses in found[arm].items()},
            costs=costs,
            difference=None
            if arm == plan.baseline
            else paired_interval(differences, confidence=plan.confidence, tests=tests),
        )
