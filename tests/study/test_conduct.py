"""Real studies in stages, each run a few steps long, killed and gone on with."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from redrop.errors import UsageError
from redrop.study.budget import parse_budget
from redrop.study.conduct import (
    conduct_map,
    conduct_plan,
    conduct_protocol,
    protocol_precision,
    with_amount,
)
from redrop.study.engine import Observer, missing_runs
from redrop.study.folders import (
    read_map_folder,
    read_protocol,
    read_protocol_folder,
    stage_studies,
)
from redrop.study.plan import PlannedRun
from redrop.study.protocol import Finished
from redrop.study.question import Question
from redrop.study.records import Study, read_study
from redrop.study.regime_map import make_map
from redrop.study.run import execute
from redrop.study.schema import StudyPlan
from redrop.study.stage import ProtocolSettings, Stage
from redrop.tasks.load import load_task
from redrop.tasks.spec import TaskSpec
from redrop.train.config import TrainConfig
from redrop.train.recipe_word import parse_recipe

SPEC = TaskSpec(source="markov:4000")
MODEL = {"width": 16, "layers": 1, "heads": 2, "context": 16}
TRAIN = TrainConfig(steps=8, batch_size=4, eval_tokens=64, checkpoint_every=4, threads=1)
# In so few steps a larger learning rate surely gains; dropout surely does not.
FACTORS = tuple(parse_recipe(word) for word in ("learning_rate-0.01", "all-0.5"))
SETTINGS = ProtocolSettings(
    budget=parse_budget("208 steps"), steps=8, factors=FACTORS, margin=0.01, looks=2
)
ARMS = (parse_recipe("none"), parse_recipe("all-0.3"))


@pytest.fixture(scope="module")
def question() -> Question:
    task = load_task(SPEC, MODEL)
    command = "redrop study markov:4000 --budget '208 steps'"
    return Question(spec=SPEC, task=task, train=TRAIN, margin=0.01, command=command)


def engine(folder: Path, plan: StudyPlan, *, observe: Observer) -> Study:
    """Run what is missing in this process, one run after the other."""
    for run in missing_runs(folder, plan):
        execute(folder, plan, run, lambda event, run=run: observe(run, event))
    return read_study(folder)


@dataclass
class Watcher:
    """Notes what was run, and interrupts at one of the events."""

    interrupt_at: int | None = None
    runs: list[str] = field(default_factory=list)
    events: int = 0

    @contextmanager
    def __call__(self, runs: Sequence[PlannedRun]) -> Iterator[Observer]:
        self.runs += [run.id for run in runs]
        yield self.observe

    def observe(self, _run: PlannedRun, _event: Any) -> None:
        self.events += 1
        if self.events == self.interrupt_at:
            raise KeyboardInterrupt


def conduct(
    folder: Path,
    question: Question,
    watcher: Watcher | None = None,
    settings: ProtocolSettings = SETTINGS,
) -> tuple[Finished, list[Stage]]:
    announced: list[Stage] = []
    watch = watcher or Watcher()
    end = conduct_protocol(folder, question, settings, engine, watch, announced.append)
    return end, announced


@pytest.fixture(scope="module")
def undisturbed(
    question: Question, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Finished, list[Stage]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    return folder, *conduct(folder, question)


def losses(folder: Path) -> dict[str, Any]:
    """Everything a study measured, without times."""
    return {
        f"{study.folder.name}/{run.path.name}": (
            [(line.step, line.train_eval_loss, line.validation_loss) for line in run.evals],
            run.end and (run.end.best_validation_loss, run.end.test_loss_best),
        )
        for study in stage_studies(folder)
        for run in study.runs
    }


def test_all_four_stages_are_run_and_the_gain_is_confirmed(
    undisturbed: tuple[Path, Finished, list[Stage]],
) -> None:
    folder, end, announced = undisturbed
    assert [stage.kind for stage in announced if stage.kind != "confirm"] == [
        *("baseline", "screen", "screen", "dose"),
    ]
    assert [stage.name for stage in end.stages] == [stage.name for stage in announced]
    assert end.screened is not None
    assert [factor.name for factor in end.screened.kept] == ["learning_rate-0.01"]
    assert end.confirmed.winner is not None
    assert "learning_rate" in end.confirmed.winner.name
    steps = sum(run.end.steps for each in stage_studies(folder) for run in each.runs if run.end)
    assert end.account.spent == steps <= 208 + 3 * 8
    for study in stage_studies(folder):
        assert study.missing == ()
        assert study.plan.settings["train"]["steps"] == 8
        assert study.plan.command.startswith("redrop study markov:4000 --budget")


def test_the_folder_knows_what_was_asked(
    question: Question, undisturbed: tuple[Path, Finished, list[Stage]]
) -> None:
    folder = undisturbed[0]
    assert read_protocol(folder) == SETTINGS
    assert protocol_precision(folder) == "float32"
    assert read_protocol(folder / "1-baseline") is None
    recorded = read_protocol_folder(folder)
    assert recorded is not None
    assert recorded.settings == SETTINGS
    assert recorded.command == question.command
    assert recorded.studies == stage_studies(folder)


def test_the_same_call_again_runs_nothing_and_says_the_same(
    question: Question, undisturbed: tuple[Path, Finished, list[Stage]]
) -> None:
    folder, end, _ = undisturbed
    watcher = Watcher()
    again, announced = conduct(folder, question, watcher)
    assert again.sentences == end.sentences
    assert (announced, watcher.runs) == ([], [])


@pytest.mark.parametrize("event", [2, 20, 45])
def test_an_interrupted_study_goes_on_to_the_same_end(
    event: int,
    question: Question,
    undisturbed: tuple[Path, Finished, list[Stage]],
    tmp_path: Path,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        conduct(tmp_path, question, Watcher(interrupt_at=event))
    recorded = losses(tmp_path)
    assert len(recorded) < len(losses(undisturbed[0]))
    watcher = Watcher()
    end, _ = conduct(tmp_path, question, watcher)
    assert end.sentences == undisturbed[1].sentences
    assert losses(tmp_path) == losses(undisturbed[0])
    assert len(watcher.runs) == len(losses(tmp_path)) - len(recorded), "no run twice"


def test_a_stage_with_lost_and_cut_records_is_made_whole(
    question: Question, undisturbed: tuple[Path, Finished, list[Stage]], tmp_path: Path
) -> None:
    conduct(tmp_path, question)
    first, second, *_ = sorted((tmp_path / "2-screen-1" / "runs").iterdir())
    first.unlink()
    second.write_bytes(second.read_bytes()[:-30])
    for path in (tmp_path / "3-dose").rglob("*.jsonl"):
        path.unlink()
    (tmp_path / "3-dose" / "study.json").unlink()
    end, announced = conduct(tmp_path, question)
    assert [stage.name for stage in announced] == ["2-screen-1", "3-dose"]
    assert end.sentences == undisturbed[1].sentences
    assert losses(tmp_path) == losses(undisturbed[0])


def test_a_broken_stage_is_named_and_nothing_is_run(
    question: Question, undisturbed: tuple[Path, Finished, list[Stage]], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, budget=parse_budget("56 steps"))
    conduct(tmp_path, question, settings=settings)
    plan = tmp_path / "1-baseline" / "study.json"
    plan.write_text(plan.read_text()[:-5])
    watcher = Watcher()
    with pytest.raises(UsageError, match=r"1-baseline/study\.json` is not JSON"):
        conduct(tmp_path, question, watcher, settings)
    assert watcher.runs == []


def test_a_folder_holds_one_budgeted_study(
    question: Question, undisturbed: tuple[Path, Finished, list[Stage]], tmp_path: Path
) -> None:
    folder = undisturbed[0]
    before = (folder / "protocol.json").read_bytes()
    other = replace(SETTINGS, budget=parse_budget("300 steps"))
    with pytest.raises(UsageError, match="begun with other settings"):
        conduct(folder, question, settings=other)
    with pytest.raises(UsageError, match="begun with other precision"):
        conduct(folder, question.with_precision("bfloat16"))
    with pytest.raises(UsageError, match="begun with other data_sha256"):
        conduct(folder, with_amount(question, 8000))
    assert (folder / "protocol.json").read_bytes() == before
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be one"):
        conduct(tmp_path / "file" / "study", question)


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": {}}'])
def test_a_broken_protocol_file_is_refused(text: str, question: Question, tmp_path: Path) -> None:
    (tmp_path / "protocol.json").write_text(text)
    with pytest.raises(UsageError, match=r"protocol\.json"):
        read_protocol(tmp_path)


def test_a_budget_that_is_too_small_runs_nothing(question: Question, tmp_path: Path) -> None:
    watcher = Watcher()
    with pytest.raises(UsageError, match=r"pays for 5 more, and it takes 7. Pass a budget of 62"):
        conduct(tmp_path, question, watcher, replace(SETTINGS, budget=parse_budget("47 steps")))
    assert watcher.runs == []


def test_a_plan_is_conducted_once(question: Question, tmp_path: Path) -> None:
    watcher = Watcher()
    plan = question.plan(ARMS, [0, 1])
    study = conduct_plan(tmp_path, plan, engine, watcher)
    assert study.missing == ()
    assert len(watcher.runs) == 4
    assert conduct_plan(tmp_path, plan, engine, watcher) == study
    assert len(watcher.runs) == 4


def test_a_map_has_a_study_per_amount_and_goes_on(question: Question, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        conduct_map(
            tmp_path, question, ARMS, [0, 1], [8000, 4000], engine, Watcher(interrupt_at=15)
        )
    watcher = Watcher()
    points = conduct_map(tmp_path, question, ARMS, [0, 1], [8000, 4000, 8000], engine, watcher)
    assert 0 < len(watcher.runs) < 8
    assert [point.study.folder.name for point in points] == [
        *("amount-000004000", "amount-000008000"),
    ]
    assert tuple(points) == read_map_folder(tmp_path)
    assert points[1].unique == pytest.approx(2 * points[0].unique, rel=0.02)
    rows = make_map(points).rows
    assert rows[1].epochs == pytest.approx(2 * rows[0].epochs, rel=0.02)
    assert {point.study.plan.settings["train"]["steps"] for point in points} == {8}


@pytest.mark.parametrize(
    ("spec", "amount", "source", "limit"),
    [
        (SPEC, 6000, "markov:6000", None),
        (TaskSpec(source="reference:9000"), 6000, "reference:6000", None),
        (TaskSpec(kind="images", source="digits", network="vision_transformer"), 70, "digits", 70),
        (TaskSpec(kind="table", source="breast_cancer", network="mlp"), 60, "breast_cancer", 60),
    ],
)
def test_an_amount_is_of_the_same_source(
    spec: TaskSpec, amount: int, source: str, limit: int | None
) -> None:
    task = load_task(spec, {"width": 16})
    own = with_amount(Question(spec=spec, task=task, train=TRAIN, margin=0.01, command=""), amount)
    assert (own.spec.source, own.spec.limit) == (source, limit)
    assert own.task.settings()["model"]["width"] == 16
    if limit is not None:
        assert own.task.describe()["train_targets"] == limit
    else:
        assert own.task.sha256 != task.sha256


@pytest.mark.parametrize(
    ("spec", "held"),
    [
        (TaskSpec(source="mine.txt", tokenizer="byte"), "mine.txt` has 600 characters"),
        (TaskSpec(kind="table", source="iris", network="mlp"), "iris` has 90 training samples"),
    ],
    ids=["text", "table"],
)
def test_more_than_the_data_hold_is_refused_before_anything_is_run(
    spec: TaskSpec, held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.txt").write_text("höchst" * 100, encoding="utf-8")
    small = {k: v for k, v in MODEL.items() if spec.kind == "text" or k in ("width", "layers")}
    question = Question(
        spec=spec, task=load_task(spec, small), train=TRAIN, margin=0.01, command=""
    )
    assert with_amount(question, int(held.split()[2])).task  # all of them may be asked for
    with pytest.raises(UsageError, match=f"{held}, got 999000. Give amounts up to "):
        conduct_map(tmp_path / "map", question, ARMS, [0], [100, 999_000], engine, Watcher())
    assert not (tmp_path / "map").exists()


def test_the_users_own_data_cannot_be_cut(question: Question) -> None:
    spec = TaskSpec(kind="module", source="mine:loaders", network="module", model="mine:build")
    with pytest.raises(UsageError, match="your own loaders give what they give"):
        with_amount(replace(question, spec=spec), 100)


def test_the_settings_survive_json() -> None:
    assert ProtocolSettings.from_json(json.loads(json.dumps(asdict(SETTINGS)))) == SETTINGS
