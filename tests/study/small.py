"""A real study that takes seconds: a narrow network on the generated language."""

from pathlib import Path

from redrop.models.config import TransformerConfig
from redrop.study.arms import parse_arms
from redrop.study.plan import DataSource, make_plan
from redrop.study.run import load_source, torch_version
from redrop.study.schema import StudyPlan
from redrop.train.config import TrainConfig

SOURCE = DataSource(source="markov:4000")


def plan(
    *, arms: tuple[str, ...] = ("none", "all-0.3"), seeds: int = 2, steps: int = 30
) -> StudyPlan:
    corpus = load_source(SOURCE, 16)
    return make_plan(
        name=corpus.name,
        arms=parse_arms(arms),
        seeds=tuple(range(seeds)),
        model=TransformerConfig(
            vocab_size=corpus.tokenizer.vocab_size, width=16, layers=1, heads=2, context=16
        ),
        train=TrainConfig(
            steps=steps,
            batch_size=4,
            warmup_steps=2,
            eval_every=10,
            eval_tokens=256,
            checkpoint_every=10,
            threads=1,
        ),
        data=SOURCE,
        corpus=corpus.describe(),
        torch_version=torch_version(),
        margin=0.01,
        command="redrop study markov:4000",
    )


def records(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}
