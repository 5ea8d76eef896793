"""Made-up records of studies whose curves look like those of small language models.

Inputs of the tests, nothing else: a network without dropout falls fast, passes its minimum and
rises; dropout slows it and keeps the gap small. Runs that share a seed share most of their noise.
"""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from redrop.study.records import RecordWriter, StudyPlan, run_id, write_atomically
from redrop.train.recipe import Recipe

SITES = (
    "embedding",
    "attention_weights",
    "attention_residual",
    "feed_forward_hidden",
    "feed_forward_residual",
)
VERSIONS = {"redrop": "0.1.0", "spec": 1, "torch": "2.13.0", "numpy": "2.4.6", "python": "3.11.7"}
MACHINE = {"cpu": "Imaginary CPU", "threads": 2, "isa": "avx512", "backend": "cpu"}
DATA_SHA = "c0ffee" + 58 * "0"


def everywhere(p: float) -> dict[str, float]:
    return dict.fromkeys(SITES, p)


ARMS = {
    "none": everywhere(0.0),
    "all-0.1": everywhere(0.1),
    "all-0.2": everywhere(0.2),
    "attention-0.2": {**everywhere(0.0), "attention_weights": 0.2},
}
LABELS = {
    "none": "no dropout",
    "all-0.1": "dropout 0.1 on all sites",
    "all-0.2": "dropout 0.2 on all sites",
    "attention-0.2": "dropout 0.2 on attention weights",
}


def recipe(name: str, dropout: Mapping[str, float]) -> Recipe:
    return Recipe(name=name, label=LABELS.get(name, ""), dropout=dict(dropout))


def make_plan(
    arms: Mapping[str, Mapping[str, float]] = ARMS,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    margin: float = 0.01,
    looks: int = 1,
    steps: int = 1400,
    bayes_loss: float | None = None,
) -> StudyPlan:
    return StudyPlan(
        name="reference text, characters",
        arms=tuple(recipe(name, dropout) for name, dropout in arms.items()),
        baseline=next(iter(arms)),
        seeds=tuple(seeds),
        margin=margin,
        confidence=0.95,
        looks=looks,
        command="redrop study reference --arms none,all-0.1,all-0.2,attention-0.2 --seeds 5",
        settings={
            "model": {"width": 96, "layers": 2, "heads": 4, "context": 64, "norm": "pre"},
            "train": {"steps": steps, "batch_size": 24, "learning_rate": 1e-3, "eval_every": 50},
            "data": {
                "name": "reference",
                "tokenizer": "char",
                "unit": "nats per token",
                "train_targets": 25_000,
                "tokens": {"train": 25_000, "validation": 3_000, "test": 3_000},
                "bayes_loss": bayes_loss,
            },
        },
        data_sha256=DATA_SHA,
        versions=VERSIONS,
    )


def make_header(arm: str, seed: int, rates: Mapping[str, float], plan: StudyPlan) -> dict[str, Any]:
    config = {
        "model": {**plan.settings["model"], "dropout": dict(rates)},
        "train": {**plan.settings["train"], "seed": seed},
        "data": {**plan.settings["data"], "sha256": DATA_SHA},
    }
    return {
        "kind": "run",
        "id": run_id(config, DATA_SHA, "0.1.0"),
        "arm": arm,
        "seed": seed,
        "config": config,
        "versions": VERSIONS,
        "machine": MACHINE,
        "started": "2026-11-22T10:00:00Z",
    }


def make_events(
    rates: Mapping[str, float], seed: int, *, steps: int = 1400, every: int = 50, test: bool = True
) -> list[dict[str, Any]]:
    """Return the eval and end events of one run."""
    strength = float(np.mean([rates.get(site, 0.0) for site in SITES]))
    shared = np.random.default_rng(seed)
    own = np.random.default_rng([seed, round(1e6 * strength)])
    level, growth = 0.012 * shared.standard_normal(), 1 + 0.05 * shared.standard_normal()
    wobble = 0.0
    events: list[dict[str, Any]] = []
    for step in range(0, steps + 1, every):
        falls = math.exp(-((step / (280 * (1 + 3 * strength))) ** 0.62))
        train_eval = 0.9 + 3.7 * falls + level
        gap = 1.74 * growth * (step / 1400) ** 0.88 * math.exp(-3.2 * strength)
        wobble = 0.7 * wobble + 0.006 * shared.standard_normal() + 0.004 * own.standard_normal()
        minibatch = 0.02 * shared.standard_normal()
        events.append(
            {
                "kind": "eval",
                "step": step,
                "train_loss": train_eval + 2.2 * strength * (1 - falls) + minibatch,
                "train_eval_loss": train_eval + 0.3 * wobble,
                "validation_loss": train_eval + gap + wobble,
                "validation_metrics": {"accuracy": math.exp(-(train_eval + gap + wobble))},
                "learning_rate": 1e-3 * (0.55 + 0.45 * math.cos(math.pi * step / steps)),
                "gradient_norm": 0.8 + 0.3 * falls + 0.02 * own.standard_normal(),
                "clipped_share": 0.1 * falls,
                "seconds": 0.02 * step * (1.2 if strength else 1.0),
            }
        )
    best = min(events, key=lambda event: event["validation_loss"])
    offset = 0.02 + 0.003 * own.standard_normal()
    events.append(
        {
            "kind": "end",
            "status": "done",
            "steps": steps,
            "best_step": best["step"],
            "best_validation_loss": best["validation_loss"],
            "final_validation_loss": events[-1]["validation_loss"],
            "test_loss_best": best["validation_loss"] + offset if test else None,
            "test_loss_final": events[-1]["validation_loss"] + offset if test else None,
            "seconds": 0.02 * steps * (1.2 if strength else 1.0),
            "tokens": steps * 24 * 64,
            "test_metrics_best": {"accuracy": 0.375} if test else {},
            "test_metrics_final": {"accuracy": 0.25} if test else {},
        }
    )
    return events


def end_event(loss: float, **changes: Any) -> dict[str, Any]:
    """Return an end whose four losses are all `loss`, but for the changes."""
    return {
        "kind": "end",
        "status": "done",
        "steps": 1400,
        "best_step": 700,
        "best_validation_loss": loss,
        "final_validation_loss": loss,
        "test_loss_best": loss,
        "test_loss_final": loss,
        "seconds": 30.0,
        "tokens": 2_000_000,
        "test_metrics_best": {"accuracy": 0.375},
        "test_metrics_final": {"accuracy": 0.25},
        **changes,
    }


def run_path(folder: Path, header: Mapping[str, Any]) -> Path:
    return folder / "runs" / f"{header['arm']}-s{header['seed']}-{header['id']}.jsonl"


def write_run(
    folder: Path, plan: StudyPlan, arm: str, seed: int, events: Sequence[Mapping[str, Any]]
) -> Path:
    header = make_header(arm, seed, plan.arm(arm).dropout, plan)
    with RecordWriter(run_path(folder, header), header) as writer:
        for event in events:
            writer.write(event)
    return writer.path


def write_study(folder: Path, plan: StudyPlan | None = None, *, test: bool = True) -> Path:
    """Write a complete study and return its folder."""
    plan = make_plan() if plan is None else plan
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "study.json", plan.to_json())
    steps = plan.settings["train"]["steps"]
    for arm in plan.arms:
        for seed in plan.seeds:
            events = make_events(arm.dropout, seed, steps=steps, test=test)
            write_run(folder, plan, arm.name, seed, events)
    return folder


def write_ends(
    folder: Path, losses: Mapping[str, Sequence[Mapping[str, Any] | float | None]], **plan: Any
) -> Path:
    """Write a study whose runs are given by their ends alone: arm -> one loss or end per seed.

    None leaves a run out. Each run gets two evaluations, so that it has a curve.
    """
    first = next(iter(losses.values()))
    made = make_plan({arm: ARMS[arm] for arm in losses}, seeds=range(len(first)), **plan)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / "study.json", made.to_json())
    line = json.loads(json.dumps(make_events(ARMS["none"], 0)[0]))
    for arm, ends in losses.items():
        for seed, end in enumerate(ends):
            if end is None:
                continue
            last = dict(end) if isinstance(end, Mapping) else end_event(end)
            middle, final = last["best_validation_loss"], last["final_validation_loss"]
            evals = [{**line, "step": step} for step in (last["best_step"], last["steps"])]
            evals[0]["validation_loss"], evals[1]["validation_loss"] = middle, final
            for event in evals:
                event["train_eval_loss"] = None if middle is None else middle - 0.5
            write_run(folder, made, arm, seed, [*evals, last])
    return folder
