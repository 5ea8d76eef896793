"""The bar of a run and of a study, drawn on a terminal in memory."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from redrop.cli import progress as progress_module
from redrop.cli.progress import StudyProgress
from redrop.study.plan import PlannedRun
from redrop.train.config import TrainConfig
from redrop.train.recipe_word import parse_recipe

STEPS = 40


def planned(seed: int, arm: str = "all-0.1") -> PlannedRun:
    return PlannedRun(
        arm=parse_recipe(arm), seed=seed, train=TrainConfig(steps=STEPS), config={}, id=f"{seed:x}"
    )


RUNS = [planned(seed) for seed in range(3)]
END = {
    "kind": "end",
    "status": "done",
    "steps": STEPS,
    "best_validation_loss": 2.5,
    "best_step": 30,
    "seconds": 4.0,
}


def watched(*events: tuple[PlannedRun, dict[str, Any]]) -> tuple[str, float, str]:
    """Return what is printed above the bar, the steps that it counts, and its name."""
    shown = io.StringIO()
    study = StudyProgress(STEPS * len(RUNS), len(RUNS))
    bar = study._progress
    bar.live.console = Console(file=shown, width=200)
    with study:
        for run, event in events:
            study.observe(run, event)
        (task,) = bar.tasks
    return shown.getvalue(), task.completed, task.description


def step(number: int) -> dict[str, Any]:
    return {"kind": "step", "step": number}


LOST = {"kind": "lost", "cause": "was lost (WorkerCrashedError)"}


def test_a_lost_run_is_one_line_and_counts_from_anew() -> None:
    before = [(RUNS[0], step(20)), (RUNS[1], step(10))]
    _, completed, _ = watched(*before)
    assert completed == 30
    text, completed, name = watched(*before, (RUNS[0], LOST))
    said = [line for line in text.splitlines() if "lost" in line]
    assert said == ["  all-0.1, seed 0: was lost (WorkerCrashedError); it waits to be run again"]
    assert completed == 10
    assert name == "3 runs", "none has ended"
    _, completed, name = watched(*before, (RUNS[0], LOST), (RUNS[0], step(5)), (RUNS[0], END))
    assert completed == STEPS + 10
    assert name == "2 runs to go"


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(RUNS),
        st.one_of(st.builds(step, st.integers(1, STEPS)), st.just(LOST)),
    ),
    max_size=12,
)


@given(EVENTS)
def test_the_bar_counts_what_each_run_has_done_since_it_was_last_lost(events: Any) -> None:
    _, completed, _ = watched(*events)
    expected = 0
    for run in RUNS:
        own = [event for each, event in events if each is run]
        since = max((place + 1 for place, event in enumerate(own) if event is LOST), default=0)
        expected += max((event["step"] for event in own[since:]), default=0)
    assert completed == expected


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (END, "all-0.1, seed 1: best validation loss 2.500 at step 30, 4 s"),
        ({**END, "status": "diverged", "steps": 7}, "all-0.1, seed 1: diverged by step 7, 4 s"),
        (
            {**END, "status": "diverged", "steps": 1, "best_validation_loss": None},
            "all-0.1, seed 1: diverged by step 1, 4 s",
        ),
        ({"kind": "taken over", "study": "[red]mine"}, "seed 1: computed before, in [red]mine"),
    ],
    ids=["done", "diverged", "never finite", "taken over"],
)
def test_what_became_of_a_run_is_one_line(event: dict[str, Any], said: str) -> None:
    text, _, _ = watched((RUNS[1], event))
    assert sum(said in line for line in text.splitlines()) == 1


def test_one_run_is_not_said_to_be_runs() -> None:
    one = StudyProgress(STEPS, 1)
    assert one._progress.tasks[0].description == "1 run"


def test_run_and_study_have_one_bar(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    from redrop.cli import train as train_module
    from redrop.cli.app import main

    made: list[tuple[str, int]] = []
    bar: Callable[..., Any] = progress_module.steps_bar

    def noted(description: str, steps: int) -> Any:
        made.append((description, steps))
        return bar(description, steps)

    monkeypatch.setattr(train_module, "steps_bar", noted)
    monkeypatch.chdir(tmp_path)
    shape = ["--width=16", "--layers=1", "--heads=2", "--context=16", "--batch-size=4"]
    main(["train", "markov:4000", "--steps=4", "--recipe=none", "--seed=3", *shape])
    assert made == [("none, seed 3", 4)]
    error = capfd.readouterr().err
    assert "done after 4 steps" in error
    assert "4 of 4 steps" in error
