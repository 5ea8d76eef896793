"""`redrop generate`."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from redrop.errors import UsageError
from redrop.study.plan import planned_runs
from redrop.study.schema import read_plan


def generate(
    folder: Path,
    *,
    prompt: Annotated[str, Parameter(show_default=False)] = "\n",
    length: int = 400,
    arm: str | None = None,
    run_seed: int | None = None,
    seed: int = 0,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> None:
    """Let a trained model write; dropout does nothing here.

    Args:
        folder: Of a run or a study.
        prompt: Text to go on from; by default a new line.
        length: Tokens to write.
        arm: Which arm of a study; by default its first.
        run_seed: Which seed of a study; by default its first.
        seed: Of the sampling.
        temperature: 1 samples as the model says; 0 takes the likeliest token.
        top_k: Sample among so many likeliest tokens; by default among all.
    """
    if not prompt:
        raise UsageError(
            "`prompt` must hold at least one character to go on from; got ''. Leave it out to "
            "begin with a new line."
        )
    plan = read_plan(folder)
    if plan is None:
        raise UsageError(f"A model is read from the folder of a run or a study; got `{folder}`.")
    arm = plan.baseline if arm is None else arm
    run_seed = plan.seeds[0] if run_seed is None else run_seed
    runs = [r for r in planned_runs(plan) if (r.arm.name, r.seed) == (arm, run_seed)]
    if not runs:
        raise UsageError(
            f"`{folder}` has no arm {arm!r} with seed {run_seed}. Arms: "
            f"{', '.join(each.name for each in plan.arms)}; seeds: {plan.seeds}."
        )
    import torch

    from redrop.models.generate import generate as sample
    from redrop.train.load import load_trained

    trained = load_trained(folder / "checkpoints" / runs[0].name)
    tokens = torch.as_tensor(trained.tokenizer.encode(prompt)).unsqueeze(0)
    written = sample(trained.model, tokens, length, seed=seed, temperature=temperature, top_k=top_k)
    print(trained.tokenizer.decode(written[0]))
