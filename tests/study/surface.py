"""A made-up response surface: the losses of any recipe at any seed, without any training.

Inputs of the tests of the protocol. The baseline's curve falls, turns and rises; a recipe shifts
the best loss. Runs of one seed share a part of their noise, as matched runs do.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from redrop.study.protocol import Finished, ProtocolSettings, next_stage
from redrop.study.records import End, Evaluation, Header, RunRecord, Study, StudyPlan
from redrop.study.stage import Stage
from redrop.train.recipe import Recipe

Noise = Callable[[np.random.Generator], float]


def normal(rng: np.random.Generator) -> float:
    return float(rng.standard_normal())


def skewed(rng: np.random.Generator) -> float:
    """Exponential, mean 0 and standard deviation 1: now and then a run is far worse."""
    return float(rng.exponential()) - 1.0


@dataclass(frozen=True, kw_only=True)
class Surface:
    """How losses come about.

    Args:
        change: Change of the best loss that a recipe truly makes.
        key: Names the world; another key, other noise.
        own: Standard deviation of what is a run's own.
        shared: Standard deviation of what runs of a seed share.
        turns_at: Step at which the baseline is best.
    """

    change: Callable[[Recipe], float] = lambda recipe: 0.0
    key: int = 0
    own: float = 0.01
    shared: float = 0.02
    noise: Noise = normal
    turns_at: int = 300
    seconds_per_step: float = 0.01
    diverging: frozenset[str] = field(default_factory=frozenset)

    def best(self, recipe: Recipe, seed: int) -> tuple[float, float]:
        """Return the best validation loss and the test loss of a run."""
        name = int.from_bytes(recipe.name.encode()[-24:], "little")
        shared = self.shared * self.noise(np.random.default_rng([self.key, seed]))
        rng = np.random.default_rng([self.key, seed, name])
        loss = 2.0 + self.change(recipe) + shared + self.own * self.noise(rng)
        return loss, loss + 0.05 + 0.2 * self.own * self.noise(rng)

    def study(self, stage: Stage, margin: float = 0.01) -> Study:
        plan = StudyPlan(
            name="surface",
            arms=stage.arms,
            baseline=stage.arms[0].name,
            seeds=stage.seeds,
            margin=margin,
            confidence=0.95,
            looks=stage.looks,
            command="",
            settings={"train": {"steps": stage.steps}, "data": {"train_targets": 10_000}},
            data_sha256="0",
            versions={},
        )
        runs = [
            self.run(recipe, seed, stage.steps) for recipe in stage.arms for seed in stage.seeds
        ]
        return Study(folder=Path(stage.name), plan=plan, runs=tuple(runs), incomplete=())

    def run(self, recipe: Recipe, seed: int, steps: int) -> RunRecord:
        best, test = self.best(recipe, seed)
        turn = min(self.turns_at, steps)
        curve = {
            step: best
            + 1.5 * math.exp(-4 * step / turn) * (step < turn)
            + 0.2 * max(0, step - turn) / turn
            for step in range(0, steps + 1, max(1, steps // 20))
        }
        diverges = recipe.name in self.diverging
        return RunRecord(
            header=Header(
                id="0", arm=recipe.name, seed=seed, config={}, versions={}, machine={}, started=""
            ),
            evals=tuple(evaluation(step, loss) for step, loss in curve.items()),
            end=End(
                status="diverged" if diverges else "done",
                steps=steps,
                best_step=turn,
                best_validation_loss=best,
                final_validation_loss=max(curve.values()) if diverges else curve[max(curve)],
                test_loss_best=test,
                test_loss_final=test,
                seconds=steps * self.seconds_per_step * (1.2 if recipe.dropout else 1.0),
                tokens=steps * 100,
                test_metrics_best={},
                test_metrics_final={},
            ),
            path=Path(f"{recipe.name}-s{seed}.jsonl"),
        )


def evaluation(step: int, loss: float) -> Evaluation:
    return Evaluation(
        step=step,
        train_loss=loss,
        train_eval_loss=loss - 0.1,
        validation_loss=loss,
        validation_metrics={},
        learning_rate=1e-3,
        gradient_norm=1.0,
        clipped_share=0.0,
        seconds=0.0,
    )


def additive(effects: Mapping[str, float], scale: float = 0.1) -> Callable[[Recipe], float]:
    """Return the change of a recipe: the sum of its parts, growing with p like p/scale.

    An effect of dropout is that at p = `scale`; beyond 2.5 times that it falls off again.
    """

    def change(recipe: Recipe) -> float:
        total = 0.0
        sites = dict(recipe.dropout)
        if "all" in sites:
            everywhere = [name for name in effects if name not in ("drop_path", "weight_decay")]
            sites = {**dict.fromkeys(everywhere, sites.pop("all")), **sites}
        for site, p in sites.items():
            dose = p / scale
            total += effects.get(site, 0.0) * dose * (1 - dose / 5) / 0.8
        for setting in (*recipe.train, *recipe.augment):
            total += effects.get(setting, 0.0)
        return total

    return change


def play(settings: ProtocolSettings, surface: Surface) -> tuple[Finished, list[Stage]]:
    """Run a whole protocol on a surface; every stage is asked for anew from what is finished."""
    finished: dict[str, Study] = {}
    stages: list[Stage] = []
    while True:
        following = next_stage(settings, list(finished.values()))
        if isinstance(following, Finished):
            return following, stages
        stages.append(following)
        finished[following.name] = surface.study(following, settings.margin)
