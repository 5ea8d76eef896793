"""Ray on this machine beside the local engine, on the same runs: `python -m bench.ray`.

Both train the runs of one study, so many side by side, one thread each, and are timed from the call
to the finished study: the start of Ray and of its workers counts. The engines take turns.
"""

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bench.harness import note
from bench.study import plan_of
from redrop.study.arms import parse_arms
from redrop.study.engine import open_study, run_study
from redrop.study.ray_engine import run_study_on_ray
from redrop.study.records import Study
from redrop.study.schema import StudyPlan

ARMS = ("none", "all-0.2")
TRIAL_STEPS = 400


def seconds_of(engine: Any, plan: StudyPlan) -> tuple[float, float, Study]:
    """Run a study in a fresh folder; return seconds in all and to the first step, and the study."""
    began = time.perf_counter()
    first: list[float] = []

    def observe(*_: object) -> None:
        if not first:
            first.append(time.perf_counter() - began)

    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        study = engine(at, open_study(at, plan), observe=observe)
        return time.perf_counter() - began, first[0], study


def plan_with(seeds: int, steps: int) -> StudyPlan:
    """Return a study of two arms of the default network."""
    return replace(plan_of(seeds, steps), arms=parse_arms(ARMS), baseline=ARMS[0])


def steps_for(seconds: float, engine: Any) -> int:
    """Return how many steps a run takes that lasts so long."""
    _, _, study = seconds_of(engine, plan_with(1, TRIAL_STEPS))
    taken = statistics.mean(run.end.seconds for run in study.runs if run.end is not None)
    return max(1, round(TRIAL_STEPS * seconds / taken))


def main() -> None:
    """Run the study in turns on both engines, and append a row for each time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run, about")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=4, help=f"of each of {len(ARMS)} arms")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    local = partial(run_study, workers=options.workers)
    on_ray = partial(run_study_on_ray, address=None, workers=options.workers)
    steps = steps_for(options.seconds, local)
    plan = plan_with(options.seeds, steps)
    runs = len(ARMS) * options.seeds
    case = f"{runs} runs of {steps} steps, about {options.seconds:.0f} s, {options.workers} workers"
    shares = []
    for _ in range(options.rounds):
        times = {}
        for name, engine in (("local engine", local), ("ray", on_ray)):
            times[name], first, _ = seconds_of(engine, plan)
            print(f"{name}: {times[name]:.1f} s, the first step after {first:.1f} s")
        note("ray", case, times, threads=1)
        shares.append(times["local engine"] / times["ray"])
    share = statistics.median(shares)
    print(f"Ray's throughput: {share:.3f} of the local engine's, median of {len(shares)} rounds")


if __name__ == "__main__":
    main()
