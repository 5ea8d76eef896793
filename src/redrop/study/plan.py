"""The plan of a study: everything that is fixed before its first run; knows no torch.

Arms are matched: at one seed they share initial weights, batches and the random words behind their
masks, so a mask with larger p drops what a smaller one drops, and more. They differ in their
dropout rates and in nothing else.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import redrop
from redrop.errors import UsageError
from redrop.models.config import DropoutRates, TransformerConfig
from redrop.study.records import canonical_json, run_id
from redrop.study.schema import PLAN_FILE, Arm, StudyPlan
from redrop.train.config import TrainConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class DataSource:
    """Where the text comes from; the arguments of `redrop.data.load.load_corpus`."""

    source: str
    tokenizer: str = "char"
    limit: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedRun:
    """One arm at one seed, with the complete settings of its run."""

    arm: Arm
    seed: int
    model: TransformerConfig
    train: TrainConfig
    config: Mapping[str, Any]
    id: str

    @property
    def name(self) -> str:
        """The file name of its record, without the ending."""
        return f"{self.arm.name}-s{self.seed}-{self.id}"


def make_plan(
    *,
    name: str,
    arms: tuple[Arm, ...],
    seeds: tuple[int, ...],
    model: TransformerConfig,
    train: TrainConfig,
    data: DataSource,
    corpus: Mapping[str, Any],
    torch_version: str,
    margin: float,
    command: str,
) -> StudyPlan:
    """Fix a study.

    Args:
        name: For titles; the name of the data is usual.
        arms: The first one is the baseline.
        seeds: Of initial weights, batches and masks.
        model: Shape of the network; its own dropout rates are replaced by each arm's.
        train: Settings of a run; its own seed is replaced.
        data: Where the corpus comes from.
        corpus: What `Corpus.describe` says of it.
        torch_version: Part of what decides a run's numbers.
        margin: Smallest difference in loss that matters, in nats.
        command: The exact command that repeats the study.

    Raises:
        UsageError: No seed, or arms of one name.
    """
    settings = {
        "model": {k: v for k, v in asdict(model).items() if k != "dropout"},
        "train": {k: v for k, v in asdict(train).items() if k != "seed"},
        "data": {**asdict(data), **corpus, "train_tokens": corpus["tokens"]["train"]},
    }
    return StudyPlan(
        name=name,
        arms=arms,
        baseline=arms[0].name,
        seeds=seeds,
        margin=margin,
        confidence=0.95,
        looks=1,
        command=command,
        settings=settings,
        data_sha256=str(corpus["sha256"]),
        versions={
            "redrop": redrop.__version__,
            "spec": redrop.SPEC_VERSION,
            "torch": torch_version,
        },
    )


def planned_runs(plan: StudyPlan) -> tuple[PlannedRun, ...]:
    """Return the runs of a plan, seed by seed: an interrupted study then has complete pairs."""
    return tuple(_planned_run(plan, arm, seed) for seed in plan.seeds for arm in plan.arms)


def _planned_run(plan: StudyPlan, arm: Arm, seed: int) -> PlannedRun:
    settings = plan.settings
    rates = DropoutRates(**arm.rates)
    model = TransformerConfig(**settings["model"], dropout=rates)
    train = TrainConfig(**settings["train"], seed=seed)
    config = {"model": asdict(model), "train": asdict(train), "data": settings["data"]}
    code = "redrop {redrop}, spec {spec}, torch {torch}".format(**plan.versions)
    return PlannedRun(
        arm=arm,
        seed=seed,
        model=model,
        train=train,
        config=config,
        id=run_id(config, plan.data_sha256, code),
    )


def plan_digest(plan: StudyPlan) -> str:
    """Return 8 hex digits that name a study; with more seeds it is the same study."""
    return hashlib.sha256(canonical_json(_question(plan)).encode()).hexdigest()[:8]


def continue_plan(ours: StudyPlan, recorded: StudyPlan, folder: Path) -> StudyPlan:
    """Return the plan that goes on in a folder: the recorded one, with more seeds if ours has more.

    Who adds seeds has looked at the fewer ones; that look is counted, so that the intervals stay
    what they promise.

    Raises:
        UsageError: A setting or a version differs; one folder holds one study.
    """
    for field, mine, theirs in _differences(_question(ours), _question(recorded), ""):
        raise UsageError(
            f"A study folder holds one study; `{folder}` was recorded with {field} = {theirs!r}, "
            f"this one has {mine!r}. Use another folder, or the settings in its {PLAN_FILE}."
        )
    if len(ours.seeds) <= len(recorded.seeds):
        return recorded
    return replace(ours, looks=recorded.looks + 1)


def _question(plan: StudyPlan) -> Any:
    """Return what a study asks, as JSON gives it back: all but seeds, looks and wording."""
    fields = {k: v for k, v in asdict(plan).items() if k not in ("command", "seeds", "looks")}
    return json.loads(canonical_json(fields))


def _differences(mine: Any, theirs: Any, at: str) -> list[tuple[str, Any, Any]]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        names = sorted({*mine, *theirs})
        found = [_differences(mine.get(n), theirs.get(n), f"{at}.{n}" if at else n) for n in names]
        return [difference for differences in found for difference in differences]
    return [] if mine == theirs else [(at, mine, theirs)]
