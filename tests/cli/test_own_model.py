"""`redrop study --model my_module:build --data my_module:loaders`."""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest

from redrop.cli.app import main
from redrop.study.records import read_study
from tests.cli.command import redrop, start
from tests.tasks import own

STUDY = ["study", "--model", "my_module:build", "--data", "my_module:loaders"]
QUICK = ["--steps=8", "--seeds=1", "--precision=float32"]
LONG = ["--steps=600", "--seeds=2", "--precision=float32", "--arms", "none", "as-is"]


def losses(folder):
    """What was recorded, without times."""
    return {
        run.path.name: [(e.step, e.train_loss, e.validation_loss) for e in run.evals]
        + [(run.end.status, run.end.best_step, run.end.test_loss_final)]
        for run in read_study(folder).runs
    }


@pytest.fixture
def folder(tmp_path):
    """A folder with the user's module."""
    shutil.copy(own.__file__, tmp_path / "my_module.py")
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch, capfd):
    """Run a command in this process, which has torch loaded; return its code and its output."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("COLUMNS", "120")
    # Each folder has a module of the name; this process must not keep that of another one.
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.delitem(sys.modules, "my_module", raising=False)

    def run(*arguments):
        code = 0
        try:
            main(arguments)
        except SystemExit as end:
            code = end.code
        return code, *capfd.readouterr()

    yield run
    sys.modules.pop("my_module", None)


def test_a_study_of_ones_own_model_ends_with_a_report(folder, run):
    code, out, error = run(*STUDY, *QUICK, "--out=study")
    assert code == 0, error
    study = read_study(folder / "study")
    assert [arm.name for arm in study.plan.arms] == ["none", "as-is", "all-0.1", "all-0.2"]
    assert study.missing == ()
    assert study.plan.unit == "nats"
    assert study.plan.parameters == 195  # (6 + 1) · 16, 2 · 16 of the norm, (16 + 1) · 3
    assert study.plan.settings["train"]["batch_size"] == 8  # that of the user's loader
    assert "the model's own dropout" in study.plan.arm("as-is").label
    assert "Report: study/report.html" in out
    code, _, again = run(*STUDY, *QUICK, "--out=study")
    assert (code, again) == (0, "")


def test_arms_by_pattern_and_with_arguments_of_the_builder(folder, run):
    Path("own.toml").write_text(
        '[some]\ndropout = { "drop" = 0.5 }\n[wide]\nmodel = { hidden = 32 }\n'
    )
    arms = ["--arms", "none", "some", "wide", "as-is+weight_decay-1"]
    code, _, error = run(*STUDY, *QUICK, "--out=study", "--recipes=own.toml", *arms)
    assert code == 0, error
    assert len(losses(folder / "study")) == 4
    assert len({value[-1][-1] for value in losses(folder / "study").values()}) == 4


def test_an_arm_that_diverges_leaves_the_others(folder, run):
    code, out, error = run(
        *STUDY, *QUICK, "--out=study", "--loss=my_module:nan_with_dropout", "--arms", "none",
        "all-1", "all-0.1",
    )  # fmt: skip
    assert code == 0, error
    ends = {each.header.arm: each.end.status for each in read_study(folder / "study").runs}
    assert ends == {"none": "done", "all-1": "diverged", "all-0.1": "done"}
    assert "1 of 1 run diverged; do not use it" in out


def test_a_split_at_random_is_the_same_in_every_process(folder, run):
    """And without test data no loss is called one of test data."""
    split = [*STUDY[:3], "--data", "my_module:split_at_random"]
    code, out, error = run(*split, *QUICK, "--out=study", "--arms", "none", "as-is")
    assert code == 0, error
    study = read_study(folder / "study")
    assert study.plan.settings["train"]["batch_size"] == 24
    assert all(run.end.test_loss_best is None for run in study.runs)
    assert "test loss" not in out.lower()


def test_data_drawn_without_a_seed_are_told_apart_from_data_that_changed(folder, run):
    drawn = "X = torch.randn(48, WIDTH)\n\ndef drawn():\n    return 2 * ((X, rows(0)[1]),)\n"
    with Path("my_module.py").open("a") as file:
        file.write(f"\n\n{drawn}")
    asked = [*STUDY[:3], "--data", "my_module:drawn", *QUICK, "--arms", "none", "as-is"]
    code, _, error = run(*asked, "--batch-size=8", "--workers=1", "--out=study")
    assert code == 2
    assert "`my_module:drawn` gives others in each process" in error
    assert "drawn without a seed, perhaps at the top of its module" in error
    assert "has changed" not in error


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_to_the_same_numbers(folder):
    assert redrop(*STUDY, *LONG, "--out=undisturbed", cwd=folder).returncode == 0
    process = start(*STUDY, *LONG, "--out=study", cwd=folder)
    for _ in range(1200):
        lines = [line for p in folder.glob("study/runs/*") for line in p.read_text().splitlines()]
        if sum('"eval"' in line for line in lines) >= 3:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert read_study(folder / "study").missing
    ended = redrop(*STUDY, *LONG, "--out=study", cwd=folder)
    assert ended.returncode == 0, ended.stderr
    assert losses(folder / "study") == losses(folder / "undisturbed")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"--model": "my_module:biuld"}, "`my_module` has no `biuld`. Did you mean build"),
        ({"--model": "absent:build"}, "There is no module `absent`"),
        ({"--model": "my_module:WIDTH"}, "`--model` names a function; got int"),
        ({"--model": "my_module:fail"}, "Building your model failed: RuntimeError: on purpose."),
        ({"--model": "my_module:rows"}, "Building your model failed: TypeError: rows() missing"),
        ({"--model": "my_module:loaders"}, "returns a torch.nn.Module; got dict"),
        ({"--model": "my_module:build_without_sites"}, "has no dropout site, so none can be set"),
        ({"--model": "my_module:build_attending"}, "Attending must run on the example, a torch"),
        ({"--data": "my_module:fail"}, "Your loaders failed: RuntimeError: on purpose."),
        ({"--data": "my_module:build"}, "returns (train, validation) or"),
        ({"--data": "my_module:no_loaders"}, "The train loader yields nothing. Give it at least"),
        ({"--loss": "my_module:WIDTH"}, "`--loss` names a function; got int"),
        ({"--loss": "my_module:no_mean"}, "A loss returns a tensor of one number, a mean; got sh"),
        ({"--arms": "none embedding-0.1"}, "`embedding` is a kind that this model does not have"),
        ({"--arms": "none mixup-0.1"}, "augments by `mixup`, which your own data cannot bear"),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)  # fmt: skip
def test_mistakes_are_one_line_with_code_2_before_any_run(folder, run, changes, said):
    asked = {"--model": "my_module:build", "--data": "my_module:loaders", **changes}
    words = [word for name, value in asked.items() for word in (name, *value.split())]
    code, _, error = run("study", *words, *QUICK)
    assert code == 2, error
    assert said in error
    assert len(error.splitlines()) == 1
    assert not list(folder.glob("studies/*/runs/*"))


def test_a_model_without_data_is_one_line(run):
    code, _, error = run("study", "--model", "my_module:build")
    assert code == 2
    assert "`--model my_module:build` needs its data: `--data my_module:loaders`" in error
    assert len(error.splitlines()) == 1
