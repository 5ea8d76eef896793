"""The ledger, and what it is for: a run that one study has finished is not computed by another."""

import json
import logging
import os
import shutil
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.study.code import code_digest
from redrop.study.engine import open_study, run_study
from redrop.study.ledger import LEDGER_FILE, Ledger, studies_folder
from redrop.study.lock import exclusive
from redrop.study.plan import planned_runs
from redrop.study.records import read_run, read_study
from redrop.study.reuse import take_over
from redrop.study.run import load_planned_task
from redrop.train.recipe import Recipe
from tests.study import small, synthetic


def rows(root, columns="study, arm, seed, status"):
    with sqlite3.connect(root / LEDGER_FILE) as connection:
        return connection.execute(f"SELECT {columns} FROM runs ORDER BY path").fetchall()


def said_by_the_records(root):
    """What the ledger must say, read from the records by other means."""
    found = []
    for path in sorted(root.glob("*/runs/*.jsonl"), key=lambda path: path.as_posix()):
        first, *rest = path.read_text().splitlines()
        head, last = json.loads(first), json.loads(rest[-1])
        status = last["status"] if last["kind"] == "end" else "unfinished"
        found.append((path.parts[-3], head["arm"], head["seed"], status))
    return found


@pytest.fixture
def root(tmp_path):
    """Made-up studies `one` and `two`, the last run of `one` not finished."""
    root = tmp_path / "studies"
    synthetic.write_study(root / "one", synthetic.make_plan(seeds=(0, 1), steps=200))
    synthetic.write_study(root / "two", synthetic.make_plan(seeds=(2,), steps=200))
    last = max((root / "one" / "runs").iterdir())
    last.write_bytes(b"".join(last.read_bytes().splitlines(keepends=True)[:-2]))
    return root


def open_and_close(root):
    with Ledger(root / "one"):
        pass


def test_it_says_what_the_records_say(root):
    open_and_close(root)
    assert rows(root) == said_by_the_records(root)
    assert len(rows(root)) == 12
    path, loss, seconds, torch = rows(root, "path, best_validation_loss, seconds, torch")[0]
    end = read_run(root / path).end
    assert (loss, seconds) == (end.best_validation_loss, end.seconds)
    assert torch == synthetic.VERSIONS["torch"]


@pytest.mark.parametrize("damage", ["missing", "text", "cut", "overwritten", "other format"])
def test_it_is_made_again_when_it_is_gone_or_damaged(root, damage, caplog):
    open_and_close(root)
    file = root / LEDGER_FILE
    whole = file.read_bytes()
    if damage == "missing":
        file.unlink()
    elif damage == "text":
        file.write_text("no database at all, " * 400)
    elif damage == "cut":
        file.write_bytes(whole[: len(whole) // 2])
    elif damage == "overwritten":
        file.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    else:
        with sqlite3.connect(file) as connection:
            connection.execute("ALTER TABLE runs RENAME COLUMN arm TO was_arm")
            connection.execute("PRAGMA user_version = 99")
    open_and_close(root)
    assert rows(root) == said_by_the_records(root)
    assert caplog.records == []
    kept = file.with_name(f"{LEDGER_FILE}.damaged").exists()
    assert kept == (damage in ("text", "cut", "overwritten")), "damaged files are laid aside"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    plan = synthetic.make_plan(seeds=(0,), steps=100)
    return synthetic.write_study(tmp_path_factory.mktemp("template") / "study", plan)


@settings(max_examples=25)
@given(st.lists(st.sampled_from(["add", "remove", "cut", "grow"]), min_size=1, max_size=6))
def test_it_follows_whatever_happens_to_the_records(template, tmp_path_factory, changes):
    root = tmp_path_factory.mktemp("case") / "studies"
    shutil.copytree(template, root / "one")
    open_and_close(root)
    for number, change in enumerate(changes):
        records = sorted((root / "one" / "runs").iterdir())
        if change == "add":
            shutil.copytree(template, root / f"more-{number}")
        elif not records:
            continue
        elif change == "remove":
            records[0].unlink()
        elif change == "cut":
            lines = records[-1].read_bytes().splitlines(keepends=True)
            records[-1].write_bytes(b"".join(lines[: max(2, len(lines) - 1)]))
        else:
            records[-1].touch()
    open_and_close(root)
    assert rows(root) == said_by_the_records(root)


def test_a_broken_record_is_left_to_its_own_study(root):
    path = min((root / "one" / "runs").iterdir())
    path.write_bytes(b'{"kind": "eval"}\n' + path.read_bytes())
    open_and_close(root)
    assert len(rows(root)) == 11


def test_a_folder_that_is_no_folder_of_studies_gets_no_ledger(tmp_path):
    folder = synthetic.write_study(tmp_path / "here" / "one", synthetic.make_plan(seeds=(0,)))
    with Ledger(folder) as ledger:
        assert ledger.finished(read_study(folder).runs[0].header.id) == []
    assert not list(tmp_path.rglob(LEDGER_FILE))
    (tmp_path / "here" / LEDGER_FILE).touch()
    assert studies_folder(folder) == tmp_path / "here"
    assert studies_folder(tmp_path / "here" / "budgeted" / "1-baseline") == tmp_path / "here"


# --- What it must never do: make a study fail ---


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of studies with one real study in it."""
    root = tmp_path_factory.mktemp("real") / "studies"
    run(root / "first", small.plan(seeds=1))
    return root


def run(folder, plan):
    """Run a study; return the kinds of events that it told."""
    told = []
    plan = open_study(folder, plan)
    run_study(folder, plan, workers=2, observe=lambda run, event: told.append((run, event["kind"])))
    assert read_study(folder).missing == ()
    return told


def computed(told):
    return {run.name for run, _ in told} - {run.name for run, kind in told if kind == "taken over"}


def first_of(folder):
    plan = small.plan(seeds=1)
    return plan, planned_runs(plan)[0], folder / "second"


@pytest.mark.parametrize("obstacle", ["a folder", "another program's", "locked"])
def test_a_ledger_that_cannot_be_used_costs_reuse_and_one_line(
    finished, tmp_path, obstacle, caplog, monkeypatch
):
    monkeypatch.setattr("redrop.study.ledger._SECONDS_FOR_A_LOCK", 0.05)
    root = tmp_path / "studies"
    root.mkdir()
    holder = None
    if obstacle == "a folder":
        (root / LEDGER_FILE).mkdir()
    else:
        holder = sqlite3.connect(root / LEDGER_FILE, isolation_level=None)
        holder.execute("CREATE TABLE theirs (x)")
        if obstacle == "locked":
            holder.execute("BEGIN EXCLUSIVE")
    with caplog.at_level(logging.WARNING):
        told = run(root / "second", small.plan(seeds=1, steps=10))
    assert len(computed(told)) == 2
    assert len(caplog.records) == 1
    (message,) = [record.getMessage() for record in caplog.records]
    assert f"The ledger `{root / LEDGER_FILE}` is not used" in message
    assert "\n" not in message
    if holder is not None:
        if obstacle == "locked":
            holder.execute("ROLLBACK")
        assert holder.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
        holder.close()


def test_a_ledger_that_breaks_in_the_middle_costs_one_line(root, caplog):
    with Ledger(root / "one") as ledger:
        with sqlite3.connect(root / LEDGER_FILE) as other:
            other.execute("DROP TABLE runs")
        other.close()
        assert ledger.finished("0" * 12) == []
        ledger.note(min((root / "one" / "runs").iterdir()))
        assert ledger.finished("0" * 12) == []
    assert len(caplog.records) == 1


# --- What it is for ---


def test_a_run_that_another_study_has_finished_is_taken_over_byte_for_byte(finished):
    wider = small.plan(arms=("none", "all-0.3", "all-0.1"), seeds=1)
    told = run(finished / "wider", wider)
    assert {run.arm.name for run, kind in told if kind == "taken over"} == {"none", "all-0.3"}
    assert {name.partition("-s0")[0] for name in computed(told)} == {"all-0.1"}
    first, second = small.records(finished / "first"), small.records(finished / "wider")
    assert first.items() <= second.items()
    both = rows(finished, "id, study")
    assert len(both) == len({*both})
    assert len({run for run, study in both if study == "wider"}) == 3
    assert {r for r, s in both if s == "first"} < {r for r, s in both if s == "wider"}
    for name in first:
        ours = finished / "wider" / "checkpoints" / Path(name).stem / "final"
        theirs = finished / "first" / "checkpoints" / Path(name).stem / "final"
        assert {f.name: f.read_bytes() for f in ours.iterdir()} == {
            f.name: f.read_bytes() for f in theirs.iterdir()
        }


def test_the_observer_sees_the_whole_curve_of_a_run_that_is_taken_over(finished):
    told = run(finished / "again", small.plan(seeds=1))
    kinds = [kind for run, kind in told if run.arm.name == "none"]
    assert kinds == ["taken over", "eval", "eval", "eval", "end"]


def test_an_arm_of_another_name_and_the_same_content_is_taken_over_and_says_so(finished):
    plan = small.plan(seeds=1)
    mine = replace(plan.arms[1], name="my own", label="what I call it")
    told = run(finished / "renamed", replace(plan, arms=(plan.arms[0], mine)))
    assert computed(told) == set()
    renamed = read_study(finished / "renamed").of_arm("my own")[0]
    original = read_study(finished / "first").of_arm("all-0.3")[0]
    assert (renamed.end, renamed.evals) == (original.end, original.evals)
    assert replace(renamed.header, arm="all-0.3") == original.header
    head = json.loads(renamed.path.read_text().splitlines()[0])
    assert head["copied_from"] == {"record": original.path.name, "arm": "all-0.3"}


def test_what_no_name_decides_is_in_the_id_and_nothing_else():
    plan = small.plan(seeds=1)
    (none, all_) = planned_runs(plan)

    def ids(changed):
        return [run.id for run in planned_runs(changed)]

    other_words = replace(plan, margin=0.5, looks=3, command="x", name="y")
    assert ids(other_words) == [none.id, all_.id]
    renamed = replace(plan, arms=(plan.arms[0], replace(plan.arms[1], name="z", label="l")))
    assert ids(renamed) == [none.id, all_.id]
    longer = small.plan(seeds=1, steps=31)
    assert not {*ids(longer)} & {none.id, all_.id}
    arms = (plan.arms[0], Recipe(name="all-0.3", dropout={"all": 0.3}, train={"l2": 1e-4}))
    assert ids(replace(plan, arms=arms)) == [none.id, ids(replace(plan, arms=arms))[1]]
    assert ids(replace(plan, arms=arms))[1] != all_.id
    assert ids(replace(plan, data_sha256="0" * 64))[0] != none.id
    for name in ("redrop", "spec", "torch"):
        assert ids(replace(plan, versions={**plan.versions, name: "other"}))[0] != none.id


@pytest.mark.parametrize("what", ["unfinished", "other code", "other numpy", "no code", "gone"])
def test_what_is_not_this_run_or_not_whole_is_not_taken_over(finished, tmp_path, what):
    root = tmp_path / "studies"
    subprocess.run(["cp", "-r", str(finished), str(root)], check=True)
    for of_another_test in root.glob("[!f]*/"):
        shutil.rmtree(of_another_test)
    plan, first, folder = first_of(root)
    (path,) = (root / "first" / "runs").glob("none-*")
    lines = path.read_text().splitlines(keepends=True)
    head = json.loads(lines[0])
    open_study(folder, plan)
    with Ledger(folder) as ledger:
        assert ledger.finished(first.id) == [path]
        if what == "unfinished":
            path.write_text("".join(lines[:-1]))
        elif what == "gone":
            path.unlink()
        else:
            _, _, name = what.partition(" ")
            head["versions"][name] = "other"
            if what == "no code":
                del head["versions"][name]
            path.write_text(json.dumps(head) + "\n" + "".join(lines[1:]))
        assert take_over(ledger, folder, plan, first) is None
    assert not list((folder / "runs").iterdir())


@pytest.mark.parametrize(
    ("field", "change"),
    [
        ("task", {"model": "mine:build"}),
        ("task", {"kind": "module"}),
        ("augment", {"paraphrase": "somebody/model"}),
    ],
)
def test_what_code_or_weights_of_others_decide_is_always_computed(
    finished, field, change, monkeypatch
):
    plan, first, folder = first_of(finished)
    open_study(folder, plan)
    own = replace(first, config={**first.config, field: {**first.config[field], **change}})
    # The other study's record says the same as this run, in every word.
    monkeypatch.setattr("redrop.study.reuse._same_run", lambda path, plan, run: read_run(path))
    with Ledger(folder) as ledger:
        assert take_over(ledger, folder, plan, own) is None
        assert take_over(ledger, folder, plan, first) is not None
    shutil.rmtree(folder)


def test_the_digest_of_the_code_changes_with_the_code(tmp_path):
    copy = tmp_path / "redrop"
    source = Path(sys.modules["redrop"].__file__).parent
    subprocess.run(["cp", "-r", str(source), str(copy)], check=True)

    def digest():
        code = "from redrop.study.code import code_digest; print(code_digest())"
        env = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-S", "-c", f"import sys; sys.path += {sys.path!r}; {code}"]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    before = digest()
    page = copy / "report" / "html.py"
    page.write_text(page.read_text() + "\n")
    assert digest() == before, "what only shows is left out"
    loop = copy / "train" / "loop.py"
    loop.write_text(loop.read_text() + "\n")
    assert digest() != before
    assert len(code_digest()) == 12


# --- Two commands at once ---


def test_the_second_of_two_commands_is_refused_in_one_clear_line(tmp_path):
    plan = open_study(tmp_path, small.plan(seeds=1))
    with exclusive(tmp_path):
        for attempt in (
            lambda: open_study(tmp_path, small.plan(seeds=2)),
            lambda: run_study(tmp_path, plan, workers=1, observe=lambda run, event: None),
        ):
            with pytest.raises(UsageError, match="is being run by another process") as refused:
                attempt()
            assert "\n" not in str(refused.value)
    assert read_study(tmp_path).plan == plan, "the second one has changed nothing"
    assert load_planned_task(plan).sha256 == plan.data_sha256
