"""A real study that takes seconds: a narrow network on the generated language."""

from pathlib import Path

from redrop.study.arms import parse_arms
from redrop.study.plan import make_plan
from redrop.study.run import torch_version
from redrop.study.schema import StudyPlan
from redrop.tasks.load import load_task
from redrop.tasks.spec import TaskSpec
from redrop.train.config import TrainConfig

SPEC = TaskSpec(source="markov:4000")
MODEL = {"width": 16, "layers": 1, "heads": 2, "context": 16}


def plan(
    *, arms: tuple[str, ...] = ("none", "all-0.3"), seeds: int = 2, steps: int = 30
) -> StudyPlan:
    task = load_task(SPEC, MODEL)
    return make_plan(
        name=task.name,
        arms=parse_arms(arms),
        seeds=tuple(range(seeds)),
        task=SPEC,
        model=task.settings()["model"],
        train=TrainConfig(
            steps=steps,
            batch_size=4,
            warmup_steps=2,
            eval_every=10,
            eval_tokens=256,
            checkpoint_every=10,
            threads=1,
        ),
        data=task.describe(),
        torch_version=torch_version(),
        margin=0.01,
        command="redrop study markov:4000",
    )


def records(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}
