"""A study that is killed a hundred times ends as one that nobody disturbed."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from redrop.report import write_report
from redrop.study.ledger import LEDGER_FILE
from redrop.study.records import read_study

KILLS = 100
COLD = 8
"""Kills of a whole tree of processes from its first moment; each one costs seconds of start-up."""
IN_REPORT = 12
PACE = 1.15
RUNS, EVALUATIONS = 8, 48
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SITTING = [sys.executable, "-m", "tests.study.sitting"]


class Study:
    """A folder with a study, a log of what was started in it, and a warm process that runs it."""

    def __init__(self, root):
        self.folder = root / "studies" / "study"
        self.log = root / "log"
        self.folder.parent.mkdir(parents=True)
        self.process = subprocess.Popen(
            [*SITTING, "nursery", str(self.folder), str(self.log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT,
        )
        assert self.process.stdout.readline() == "ready\n"

    def sit(self, mark, seconds):
        self.process.stdin.write(f"{mark} {seconds}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def sit_cold(self, seconds):
        process = subprocess.Popen(
            [*SITTING, "once", str(self.folder), str(self.log)],
            env=ENVIRONMENT,
            start_new_session=True,
        )
        try:
            return "ended" if process.wait(seconds) == 0 else f"failed {process.returncode}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _wait_for_group(process.pid)
            return "killed"

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def started(self):
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in lines if line != "report"]

    def completed(self):
        """The finished records, and what changes when somebody writes to one."""
        found = {}
        for path in (self.folder / "runs").glob("*.jsonl"):
            if b'"kind": "end"' in path.read_bytes():
                status = path.stat()
                found[path.stem] = (status.st_ino, status.st_size, status.st_mtime_ns)
        return found

    def progress(self):
        """The share of all evaluations that is recorded."""
        runs = (self.folder / "runs").glob("*.jsonl")
        found = sum(path.read_bytes().count(b'"kind": "eval"') for path in runs)
        return found / EVALUATIONS

    def scraps(self):
        """Checkpoints that were being written."""
        found = (self.folder / "checkpoints").glob("*/.*.tmp")
        return {(path, path.stat().st_ctime_ns) for path in found}


def _wait_for_group(group):
    """Wait until the last process of a group is gone; the kernel still holds its locks before."""
    while True:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.005)


def without_times(folder):
    """Everything that the records say but when it was and how long it took."""
    kept = {}
    for path in sorted((folder / "runs").iterdir()):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        drop = ("seconds", "started", "machine")
        kept[path.name] = [{k: v for k, v in line.items() if k not in drop} for line in lines]
    return kept


def report_without_times(folder):
    """The report as it was written, as text, with no time in it."""

    def stripped(value):
        if isinstance(value, dict):
            return {name: stripped(each) for name, each in value.items() if name != "seconds"}
        return [stripped(each) for each in value] if isinstance(value, list) else value

    found = stripped(json.loads((folder / "report.json").read_text()))
    titles = found["table"]["headings"]
    found["table"]["rows"] = [
        [cell for title, cell in zip(titles, row, strict=True) if title != "Time"]
        for row in found["table"]["rows"]
    ]
    return json.dumps(found, indent=1)


def reports_of_timeless_records(folder, copy):
    """Both reports, rebuilt from records in which every run took one second."""
    (copy / "runs").mkdir(parents=True)
    shutil.copy(folder / "study.json", copy)
    for path in (folder / "runs").iterdir():
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        for line in lines:
            line.update({name: 1.0 for name in ("seconds",) if name in line})
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (copy / "runs" / path.name).write_text(text)
    paths = write_report(copy)
    return paths.html.read_bytes(), paths.json.read_bytes()


def weights(folder):
    files = sorted(folder.glob("checkpoints/*/final/*weights.safetensors"))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.fixture
def study(tmp_path):
    study = Study(tmp_path / "disturbed")
    yield study
    study.close()


@pytest.fixture
def undisturbed(tmp_path):
    """The same study, left alone; and the seconds that its runs and its report take here."""
    study = Study(tmp_path / "undisturbed")
    began = time.monotonic()
    assert study.sit("report", 0) == "killed"
    ran = time.monotonic() - began
    began = time.monotonic()
    assert study.sit("report", 600) == "ended"
    study.close()
    return study, ran, time.monotonic() - began


def die(study, moment, how):
    """Kill a sitting; say where it hit, and see that what was finished stayed as it was."""
    before, starts, scraps = study.completed(), len(study.started()), study.scraps()
    outcome = how(moment)
    assert outcome in ("killed", "ended")
    after = study.completed()
    assert before.items() <= after.items(), "a finished record was lost or written again"
    again = before.keys() & {*study.started()[starts:]}
    assert not again, "a finished run was started again"
    if outcome == "ended":
        return "nowhere"
    if not (study.folder / "study.json").exists():
        return "before the plan"
    left = read_study(study.folder)
    if not left.missing:
        return "after the last run"
    if len(study.started()) == starts:
        return "before a run"
    return "in a checkpoint" if study.scraps() - scraps else "in training"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_hundred_kills_lose_nothing_and_change_nothing(study, undisturbed, tmp_path, capsys):
    calm, ran, reported = undisturbed
    moment = random.Random(0)
    plan = ["cold"] * COLD + ["warm"] * (KILLS - COLD - IN_REPORT)
    moment.shuffle(plan)
    most = 2 * ran / len(plan)
    places: dict[str, int] = {}
    began = time.monotonic()
    for number, kind in enumerate(plan):
        # A sitting loses what it did since its last checkpoint and what it takes to begin, which
        # differs from machine to machine. Kills as far apart as this let the study get on just so
        # fast that they meet every part of it.
        is_behind = study.progress() < number / len(plan)
        most = min(8.0, most * PACE) if is_behind else max(0.05, most / PACE)
        if kind == "cold":
            place = die(study, moment.uniform(0, 6 + most), study.sit_cold)
        else:
            place = die(study, moment.uniform(0, most), lambda s: study.sit("start", s))
        places[place] = places.get(place, 0) + 1
    left = RUNS - len(study.completed())
    assert die(study, 0, lambda s: study.sit("report", s)) in ("after the last run", "nowhere")
    in_report = 0
    while sum(places.values()) - places.get("nowhere", 0) + in_report < KILLS:
        place = die(study, moment.uniform(0, reported), lambda s: study.sit("report", s))
        in_report += place == "after the last run"
    places["in the report"] = in_report
    assert die(study, 600, lambda s: study.sit("start", s)) == "nowhere"
    with capsys.disabled():
        print(f"\n{KILLS} kills in {time.monotonic() - began:.0f} s: {places}; {left} runs left")

    assert in_report >= IN_REPORT
    assert left <= RUNS // 2, "the kills have met the whole study"
    assert calm.progress() == 1
    assert places.get("in training", 0) + places.get("in a checkpoint", 0) >= 20
    assert len(study.started()) > len(calm.started()) == RUNS
    assert without_times(study.folder) == without_times(calm.folder)
    assert len(weights(calm.folder)) == 16
    assert weights(study.folder) == weights(calm.folder)
    assert report_without_times(study.folder) == report_without_times(calm.folder)
    ours = reports_of_timeless_records(study.folder, tmp_path / "ours")
    assert ours == reports_of_timeless_records(calm.folder, tmp_path / "theirs")
    with sqlite3.connect(study.folder.parent / LEDGER_FILE) as ledger:
        rows = ledger.execute("SELECT id, status FROM runs").fetchall()
    ledger.close()
    assert sorted(rows) == sorted(
        (run.header.id, run.end.status) for run in read_study(calm.folder).runs
    )


def test_the_tree_is_gone_when_its_group_is(tmp_path):
    """The kills above are worth what this is: nobody of a killed sitting goes on in secret."""
    study = Study(tmp_path)
    try:
        assert study.sit("start", 0.4) == "killed"
        before = {path: path.read_bytes() for path in Path(tmp_path).rglob("*") if path.is_file()}
        time.sleep(0.5)
        assert {p: p.read_bytes() for p in Path(tmp_path).rglob("*") if p.is_file()} == before
    finally:
        study.close()
