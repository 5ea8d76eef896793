"""A whole study beside the grid that one writes by hand: `python -m bench.study`.

The same arms, seeds, steps, initial weights and batches. Each part of the gain is measured by
itself: the kernels (one run after the other on all cores, as the grid does it), the packing (runs
side by side, one thread each) and the arithmetic (the precision that is faster here).
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch

from bench.harness import note
from bench.plain_torch import PlainGPT, train_plain
from redrop.models import TransformerConfig
from redrop.models.transformer import Transformer
from redrop.study.arms import parse_arms
from redrop.study.engine import open_study, run_study
from redrop.study.plan import make_plan, planned_runs
from redrop.study.run import load_planned_task, measure_precision, torch_version
from redrop.study.schema import StudyPlan
from redrop.study.statistics import paired_differences, paired_interval
from redrop.study.verdict import judge
from redrop.tasks.load import load_task
from redrop.tasks.presets import REFERENCE
from redrop.tasks.spec import TaskSpec
from redrop.tasks.text import TextTask
from redrop.train import TrainConfig
from redrop.train.weights import get_weights


def plan_of(seeds: int, steps: int) -> StudyPlan:
    """Return the default study with fewer seeds or steps."""
    spec = TaskSpec(source=REFERENCE.source)
    task = load_task(spec)
    train = TrainConfig(
        steps=steps,
        batch_size=REFERENCE.batch_size,
        warmup_steps=max(1, steps // 20),
        eval_every=max(1, steps // 28),
        threads=1,
    )
    return make_plan(
        name=task.name,
        arms=parse_arms(REFERENCE.arms),
        seeds=tuple(range(seeds)),
        task=spec,
        model=task.settings()["model"],
        train=train,
        data=task.describe(),
        torch_version=torch_version(),
        margin=0.01,
        command="python -m bench.study",
    )


def grid(plan: StudyPlan, threads: int) -> tuple[float, dict[str, dict[int, float | None]]]:
    """Train the grid in plain PyTorch; return seconds and test losses by arm and seed."""
    task = load_planned_task(plan)
    assert isinstance(task, TextTask)
    torch.set_num_threads(threads)
    losses: dict[str, dict[int, float | None]] = {}
    began = time.perf_counter()
    for run in planned_runs(plan):
        config = TransformerConfig.from_json(run.config["model"])
        model = PlainGPT(config)
        model.take(get_weights(Transformer(config, seed=run.seed)))
        loss = train_plain(model, run.train, task.corpus, config.context)
        losses.setdefault(run.arm.name, {})[run.seed] = loss
    return time.perf_counter() - began, losses


def ours(plan: StudyPlan, workers: int) -> tuple[float, str | None, str]:
    """Run the study; return seconds, the recommended arm and the headline."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        opened = open_study(Path(folder), plan)
        study = run_study(Path(folder), opened, workers=workers, observe=lambda *_: None)
        verdict = judge(study)
        return time.perf_counter() - began, verdict.recommended, verdict.headline


def with_train(plan: StudyPlan, **changes: object) -> StudyPlan:
    """Return the plan with changed settings of training."""
    return replace(plan, settings={**plan.settings, "train": {**plan.settings["train"], **changes}})


def main() -> None:
    """Time the grid and the three steps from it to the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=REFERENCE.steps)
    options = parser.parse_args()
    plan = plan_of(options.seeds, options.steps)
    cores = torch.get_num_threads()
    case = f"{len(plan.arms)} arms, {options.seeds} seeds, {options.steps} steps"
    seconds, losses = grid(plan, cores)
    print(f"plain PyTorch, one run after the other, {cores} threads: {seconds:.0f} s")
    baseline = losses[plan.baseline]
    for arm, by_seed in losses.items():
        if arm != plan.baseline:
            differences = list(paired_differences(by_seed, baseline).values())
            interval = paired_interval(differences, confidence=0.95, tests=len(plan.arms) - 1)
            assert interval is not None
            print(f"  {arm}: test loss {interval.mean:+.3f}, half-width {interval.half_width}")
    rows = {"plain PyTorch, one run after the other": seconds}
    kernels, _, _ = ours(with_train(plan, threads=cores), 1)
    rows["redrop, one run after the other (kernels)"] = kernels
    packed, arm, headline = ours(plan, cores)
    rows["redrop, packed (kernels and packing)"] = packed
    precision = measure_precision(plan)
    if precision != "float32":
        packed, arm, headline = ours(with_train(plan, precision=precision), cores)
        rows[f"redrop, packed, {precision} by measurement"] = packed
    note("study", case, rows, threads=cores)
    print(f"redrop says: {headline} (recommended: {arm})")


if __name__ == "__main__":
    main()
