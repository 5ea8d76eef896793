"""Folders of budgeted studies and maps on disk, their losses from a made-up response surface."""

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from redrop.disk import write_atomically
from redrop.study.folders import PROTOCOL_FILE, read_protocol_folder
from redrop.study.protocol import Finished, next_stage
from redrop.study.records import Study
from redrop.study.schema import StudyPlan
from redrop.study.stage import ProtocolSettings, Stage
from redrop.tasks.spec import TaskSpec
from redrop.train.config import TrainConfig
from redrop.train.recipe import Recipe
from tests.study import synthetic
from tests.study.surface import Surface

COMMAND = "redrop study markov:4000 --budget '40000 steps'"
SPEC = TaskSpec(source="markov:4000")
MODEL = {"vocab_size": 16, "width": 16, "layers": 1, "heads": 2, "context": 16}


def make_plan(
    arms: tuple[Recipe, ...],
    seeds: tuple[int, ...] = (0, 1, 2),
    *,
    steps: int = 800,
    margin: float = 0.01,
    looks: int = 1,
    spec: TaskSpec = SPEC,
    model: Mapping[str, Any] = MODEL,
    train: Mapping[str, Any] | None = None,
    targets: int = 10_000,
) -> StudyPlan:
    config = TrainConfig(
        **{"steps": steps, "batch_size": 4, "warmup_steps": 2, "threads": 1, **(train or {})}
    )
    return StudyPlan(
        name=spec.source,
        arms=arms,
        baseline=arms[0].name,
        seeds=seeds,
        margin=margin,
        confidence=0.95,
        looks=looks,
        command=COMMAND,
        settings={
            "task": spec.to_json(),
            "model": dict(model),
            "train": {k: v for k, v in asdict(config).items() if k != "seed"},
            "data": {
                "name": spec.source,
                "unit": "nats per token",
                "train_targets": targets,
                "tokens": {"train": targets},
            },
        },
        data_sha256=synthetic.DATA_SHA,
        versions=synthetic.VERSIONS,
    )


def write_runs(folder: Path, plan: StudyPlan, study: Study, runs: int | None = None) -> Path:
    """Write the runs of a study in memory, or the first few of them, under a plan."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "study.json", plan.to_json())
    for path in folder.glob("runs/*"):
        path.unlink()
    for run in study.runs[:runs]:
        events = [{"kind": "eval", **asdict(line)} for line in run.evals]
        events.append({"kind": "end", **asdict(run.end)})
        synthetic.write_run(folder, plan, run.header.arm, run.header.seed, events)
    return folder


def write_protocol(
    folder: Path, settings: ProtocolSettings, surface: Surface, *, stages: int = 99, runs: int = 0
) -> Path:
    """Write a budgeted study: so many stages of it, and so many runs of the one behind them."""
    folder.mkdir(parents=True, exist_ok=True)
    asked = {"kind": "protocol", "settings": asdict(settings), "command": COMMAND}
    write_atomically(folder / PROTOCOL_FILE, json.dumps(asked))
    while stages >= 0:
        recorded = read_protocol_folder(folder)
        assert recorded is not None
        following = next_stage(settings, recorded.studies)
        if isinstance(following, Finished):
            break
        stages -= 1
        if stages >= 0 or runs:
            _write_stage(folder, following, settings, surface, runs if stages < 0 else None)
    return folder


def _write_stage(
    folder: Path, stage: Stage, settings: ProtocolSettings, surface: Surface, runs: int | None
) -> None:
    plan = make_plan(
        stage.arms, stage.seeds, steps=stage.steps, margin=settings.margin, looks=stage.looks
    )
    write_runs(folder / stage.name, plan, surface.study(stage), runs)


def write_map(folder: Path, changes: Mapping[int, float], *, seeds: int = 4) -> Path:
    """Write a map: by amount of data, what dropout 0.1 does there; 0.2 does twice as much."""
    for amount, change in changes.items():
        write_amount(folder, amount, change, seeds=seeds)
    return folder


def write_amount(
    folder: Path, amount: int, change: float, *, seeds: int = 4, runs: int | None = None
) -> None:
    arms = tuple(
        replace(recipe, label=recipe.label)
        for recipe in (
            Recipe(name="none", label="no dropout"),
            Recipe(name="all-0.1", label="dropout 0.1 on all sites", dropout={"all": 0.1}),
            Recipe(name="all-0.2", label="dropout 0.2 on all sites", dropout={"all": 0.2}),
        )
    )
    stage = Stage(
        name="x", kind="confirm", arms=arms, seeds=tuple(range(seeds)), steps=800, reason=""
    )
    surface = Surface(
        change=lambda recipe: change * 10 * recipe.dropout.get("all", 0.0), own=1e-3, key=amount
    )
    plan = make_plan(arms, stage.seeds, targets=amount, spec=TaskSpec(source=f"markov:{amount}"))
    write_runs(folder / f"amount-{amount:09d}", plan, surface.study(stage), runs)
