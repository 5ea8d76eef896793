"""`redrop study --budget` and the report of what it leaves, as a user meets them."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from redrop.cli.app import main
from redrop.study.folders import read_protocol_folder
from tests.cli.command import TINY, redrop, start
from tests.report.page import Page

# Runs enough for a baseline and a confirmation; tests/study/test_conduct.py has all four stages.
ASKED = ["study", "markov:4000", "--budget", "400 steps", "--steps", "50", "--workers=2", *TINY]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("budget")
    result = redrop(*ASKED, cwd=folder)
    assert result.returncode == 0, result.stderr
    (study,) = (folder / "studies").glob("*/")
    return folder, study, result


def test_it_prints_the_stages_the_verdict_and_where_the_report_lies(finished):
    _, study, result = finished
    assert study.name.startswith("markov-4000-budget-")
    for words in ("1-baseline", "4-confirm", "complete", "400 steps of 400 steps"):
        assert words in result.stdout
    assert f"Report: studies/{study.name}/report.html" in result.stdout
    assert "The baseline without dropout" in result.stderr, "why each stage is run"
    page = Page(study / "report.html")
    page.check()
    found = json.loads((study / "report.json").read_text())
    assert found["headline"] in page.text.replace("\u00a0", " ")
    assert found["spent"] == 400
    assert found["command"].startswith("redrop study markov:4000 --budget '400 steps'")


def test_the_same_command_again_computes_nothing_and_says_the_same(finished):
    folder, _, first = finished
    again = redrop(*ASKED, cwd=folder)
    assert again.stdout == first.stdout
    assert again.stderr == ""


def test_report_rebuilds_the_same_bytes_from_the_records(finished):
    folder, study, first = finished
    names = ("report.html", "report.json", "4-confirm/report.html")
    before = [(study / name).read_bytes() for name in names]
    for name in names:
        (study / name).unlink()
    result = redrop("report", f"studies/{study.name}", cwd=folder)
    assert result.stdout == first.stdout
    assert [(study / name).read_bytes() for name in names] == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--budget", "100 steps"], "Pass a budget of"),
        (["--budget", "1000 steps", "--steps", "500"], "Pass a budget of"),
        (["--budget", "soon"], "`budget` must be a time (90s, 10m, 2h), steps"),
        (["--budget", "0 steps"], "budget"),
        (["--budget", "4000 steps", "--arms", "none", "all-0.1"], "`--budget` with `--arms`"),
        (["--budget", "4000 steps", "--seeds", "3"], "`--budget` with `--arms` or `--seeds`"),
        (["--budget", "4000 steps", "--factors", "norm"], "An arm is the name of a recipe"),
    ],
)
def test_bad_budgets_are_one_clear_line(arguments, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        main(["study", "markov:4000", *TINY, *arguments])
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.rglob("*.jsonl")), "nothing was run"


def test_a_study_that_ends_at_its_baseline_leaves_a_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = [*ASKED, "--learning-rate", "1e3"]
    with pytest.raises(SystemExit, match="2"):
        main(asked)
    printed = capsys.readouterr()
    (study,) = (tmp_path / "studies").glob("*/")
    page = Page(study / "report.html")
    page.check()
    rule = printed.err.splitlines()[-1].removeprefix("redrop: ")
    assert rule.endswith("Pass a lower --learning-rate.")
    assert rule in page.text
    assert "No answer: the baseline diverged" in printed.out
    assert f"Report: studies/{study.name}/report.html" in printed.out
    main(["report", str(study)])
    assert capsys.readouterr().out.replace(f"{tmp_path}/", "") == printed.out
    with pytest.raises(SystemExit, match="2"):
        main([*asked, "--json"])
    assert json.loads(capsys.readouterr().out)["stopped"]["rule"] == rule


def losses(folder: Path):
    recorded = read_protocol_folder(folder)
    return {
        f"{study.folder.name}/{run.path.name}": [
            (line.step, line.train_loss, line.validation_loss) for line in run.evals
        ]
        for study in recorded.studies
        for run in study.runs
    }


@pytest.mark.slow
def test_ctrl_c_is_130_its_report_says_so_and_the_same_command_goes_on(finished, tmp_path):
    _, undisturbed, first = finished
    process = start(*ASKED, cwd=tmp_path)
    study = tmp_path / "studies" / undisturbed.name
    while not (study / "4-confirm" / "study.json").exists():
        assert process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted; what was recorded is kept" in error
    told = redrop("report", str(study), cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "No answer yet: stage 4-confirm is not finished." in told.stdout
    Page(study / "report.html").check()
    again = redrop(*ASKED, cwd=tmp_path)
    assert again.stdout == first.stdout
    assert losses(study) == losses(undisturbed)
