"""`redrop.study(...)`, in this process and from scripts of their own."""

import inspect
import os
import pydoc
import runpy
import subprocess
import sys
from dataclasses import FrozenInstanceError
from html.parser import HTMLParser
from pathlib import Path

import pytest
from torch.nn import functional as F

import redrop
from redrop.errors import UsageError
from redrop.study.api import read_arms
from redrop.study.importable import importable_name
from redrop.study.records import read_study
from redrop.study.result import StudyResult
from redrop.train.recipe import Recipe
from tests.tasks import own

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
QUICK = {"train": {"precision": "float32"}, "progress": False}
MINE = Recipe(name="mine", label="my own", dropout={"drop": 0.2}, model={"hidden": 8})


def python(*arguments, cwd, **changes):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**ENVIRONMENT, **changes},
        check=False,
    )


@pytest.fixture(scope="module")
def lost(tmp_path_factory):
    """A study of one's own model in which the loss of one arm turns NaN."""
    folder = tmp_path_factory.mktemp("lost") / "study"
    result = redrop.study(
        own.loaders,
        model=own.build,
        loss=own.nan_with_dropout,
        arms=["none", "all-1", MINE],
        seeds=2,
        steps=12,
        out=folder,
        **QUICK,
    )
    return folder, result


def test_it_is_recorded_like_any_study(lost):
    folder, result = lost
    assert result.folder == folder
    assert result.study == read_study(folder)
    assert result.report == folder / "report.html"
    assert "redrop.study(data=" in result.report.read_text(encoding="utf-8")
    plan = result.study.plan
    assert [arm.name for arm in plan.arms] == ["none", "all-1", "mine"]
    assert plan.settings["task"]["model"] == "tests.tasks.own:build"
    assert plan.settings["task"]["loss"] == "tests.tasks.own:nan_with_dropout"
    assert plan.settings["train"]["batch_size"] == 8  # that of the user's loader
    assert plan.unit == "units of your loss"


def test_an_arm_whose_loss_turns_nan_says_so_and_the_others_go_on(lost):
    _, result = lost
    ends = {(run.header.arm, run.header.seed): run.end.status for run in result.study.runs}
    assert ends == {
        (arm, seed): "diverged" if arm == "all-1" else "done"
        for arm in ("none", "all-1", "mine")
        for seed in (0, 1)
    }
    assert any("2 of 2 runs diverged" in sentence for sentence in result.sentences)


def test_a_result_shows_table_and_verdict(lost):
    _, result = lost
    shown = repr(result)
    for word in ("none", "all-1", "mine", "Report: ", *result.sentences[0].split()):
        assert word in shown
    assert max(map(len, shown.splitlines()[:-1])) <= 120
    html = result._repr_html_()
    parser = Cells()
    parser.feed(html)
    assert parser.open == []
    assert len(parser.cells) == len(result.table.headings) * 3
    assert parser.cells == [cell for row in result.table.rows for cell in row]
    assert "<script" not in html
    with pytest.raises(FrozenInstanceError):
        result.folder = Path()


class Cells(HTMLParser):
    """Reads the cells of a table, and sees that every element is closed."""

    def __init__(self):
        super().__init__()
        self.open, self.cells = [], []

    def handle_starttag(self, tag, _):
        if tag != "br":
            self.open.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "td" in self.open:
            self.cells[-1] += data


def test_the_call_again_computes_nothing_and_says_the_same(lost):
    folder, result = lost
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/*")}
    again = redrop.study(
        "tests.tasks.own:loaders",
        model="tests.tasks.own:build",
        loss="tests.tasks.own:nan_with_dropout",
        arms=["none", "all-1", MINE],
        seeds=2,
        steps=12,
        out=str(folder),
        workers=1,
        **QUICK,
    )
    assert repr(again) == repr(result)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("runs/*")} == before


def test_texts_and_tables_work_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = redrop.study(
        "iris", task="table", arms=["modern", "old"], seeds=1, steps=12, shape={"width": 8}, **QUICK
    )
    assert result.folder.parent == Path("studies")
    assert result.folder.name.startswith("iris-")
    assert result.study.plan.settings["model"]["width"] == 8
    assert result.recommended is None  # one seed may be chance


@pytest.mark.slow
def test_a_budget_finds_its_arms(tmp_path):
    result = redrop.study(
        own.loaders, model=own.build, budget="1000 steps", steps=20, factors=["all-0.1"],
        out=tmp_path / "study", workers=2, **QUICK,
    )  # fmt: skip
    assert result.finished.account.spent <= 1000
    assert result.sentences == result.finished.sentences
    assert result.study.folder.parent == result.folder == tmp_path / "study"
    assert result.report == tmp_path / "study" / "report.html"
    assert result.report.is_file()
    assert "Report: " in repr(result)


SCRIPT = """
import torch
from torch import nn
import redrop

class Net(nn.Module):
    def __init__(self, hidden=8):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, hidden), nn.Dropout(0.1), nn.Linear(hidden, 2))

    def forward(self, x):
        return self.layers(x)

def loaders():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    return (x[:24], y[:24]), (x[24:], y[24:])

def loss(outputs, targets):
    assert isinstance(outputs, torch.Tensor)
    return nn.functional.cross_entropy(outputs, targets)

def start():
    return redrop.study(
        model=Net, data=loaders, loss=loss, arms=("none", "as-is"), seeds=1, steps=8, out="out",
        train={"precision": "float32"}, progress=False,
    )
"""
GUARDED = SCRIPT + '\nif __name__ == "__main__":\n    print(start())\n'


@pytest.fixture
def script(tmp_path):
    """A folder with a script in a folder, and what it wrote when it ran."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "my_script.py").write_text(GUARDED)
    return tmp_path, python("folder/my_script.py", cwd=tmp_path)


def test_a_script_with_its_own_functions_works(script):
    folder, ran = script
    assert ran.returncode == 0, ran.stderr
    assert "as-is" in ran.stdout
    assert ran.stderr == ""
    study = read_study(folder / "out")
    assert study.missing == ()
    assert study.plan.settings["task"]["model"] == "my_script:Net"


@pytest.mark.slow
def test_a_module_that_is_run_works_and_a_script_without_a_guard_does_not(script):
    folder, ran = script
    again = python("-m", "my_script", cwd=folder, PYTHONPATH=str(folder / "folder"))
    assert again.stdout == ran.stdout, again.stderr
    (folder / "bare.py").write_text(f"{SCRIPT}\nstart()\n")
    refused = python("bare.py", cwd=folder)
    assert refused.returncode == 1
    assert '`if __name__ == "__main__":`; got a call in line' in refused.stderr
    typed = python("-c", GUARDED, cwd=folder)
    assert "`Net` stands in a notebook or was typed in. Write it into a file" in typed.stderr


CALLS = {
    "start()": True,
    "for _ in [0]:\n    start()": True,
    "if True:\n    start()": True,
    "if start:\n    start()": True,
    'if __name__ == "__main__":\n    start()': False,
    'if "__main__" == __name__:\n    if True:\n        [start() for _ in range(1)]': False,
}


@pytest.mark.parametrize("call", CALLS)
def test_a_start_without_a_guard_is_seen(tmp_path, call):
    path = tmp_path / "my_script.py"
    path.write_text(
        "from redrop.study.importable import check_guard\n\n"
        f"def start():\n    check_guard()\n\n{call}\n"
    )
    if not CALLS[call]:
        runpy.run_path(str(path), run_name="__main__")
        return
    with pytest.raises(UsageError, match="got a call in line \\d of my_script.py. Indent it"):
        runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("name", ["my-script.py", "json.py", "script"])
def test_a_script_that_cannot_be_imported_is_refused(tmp_path, monkeypatch, name):
    """Its name is none, is that of another module, or has no ending."""
    path = tmp_path / name
    path.write_text(
        "from redrop.study.importable import importable_name\n\n"
        "def build():\n    pass\n\nimportable_name(build, 'model')\n"
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    with pytest.raises(UsageError, match=f"stands in {name}, which cannot be imported as"):
        runpy.run_path(str(path), run_name="__main__")


def test_the_package_is_what_is_called_and_loads_no_torch():
    script = (
        "import sys, redrop\n"
        "assert callable(redrop.study) and 'torch' not in sys.modules\n"
        "import redrop.study.records\n"
        "assert callable(redrop.study) and 'torch' not in sys.modules\n"
        "from redrop import study\n"
        "assert study is redrop.study is sys.modules['redrop.study']\n"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
    parameters = inspect.signature(redrop.study).parameters
    assert {"data", "model", "arms", "seeds", "budget", "margin"} <= parameters.keys()


def test_help_shows_how_it_is_called_and_dir_lists_it():
    shown = pydoc.render_doc(redrop.study, renderer=pydoc.plaintext)
    assert "redrop.study(data:" in shown
    assert "margin: Smallest difference in loss that matters" in shown
    assert shown.index("margin: Smallest") < shown.index("PACKAGE CONTENTS")
    assert set(redrop.__all__) <= set(dir(redrop))


@pytest.mark.parametrize(
    ("name", "argument"), [("width", "shape"), ("learning_rate", "train"), ("tokenizer", "read")]
)
def test_a_setting_as_an_argument_is_told_where_it_stands(name, argument):
    with pytest.raises(UsageError, match=f"`{name}` is a setting of .* Pass {argument}={{"):
        redrop.study("markov:4000", **{name: 3})
    with pytest.raises(TypeError, match="nonsense"):
        redrop.study("markov:4000", nonsense=3)


def make_local():
    def inner():
        return own.build()

    return inner


renamed = own.build


def decorated():
    return own.build()


decorated_before, decorated = decorated, lambda: None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: None, "other processes can import; `<lambda>` is a lambda. Write it with `def`"),
        (make_local(), "`make_local.<locals>.inner` is made inside another function"),
        (own.build(), "`model` must be a function, .* got an object of Perceptron. Every run"),
        (own.loaders(), "got an object of dict"),
        (decorated_before, ":decorated` is another object, perhaps the one before"),
    ],
)
def test_what_no_worker_can_import_is_one_line(given, message):
    with pytest.raises(UsageError, match=message) as caught:
        redrop.study(own.loaders, model=given)
    assert "\n" not in str(caught.value)


def test_what_can_be_imported_has_a_name():
    assert importable_name(own.build, "model") == "tests.tasks.own:build"
    assert importable_name(renamed, "model") == "tests.tasks.own:build"
    assert importable_name(own.Perceptron, "model") == "tests.tasks.own:Perceptron"
    assert importable_name(F.mse_loss, "loss") == "torch.nn.functional:mse_loss"
    assert importable_name("my_module:build", "model") == "my_module:build"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arms": "none all-0.1"}, "`arms` is a list of recipes; got the text"),
        ({"arms": ["none"]}, "at least two different arms"),
        ({"arms": ["none", "dorpout-0.1"]}, "dorpout-0.1"),
        ({"arms": ["none", "drop_path-0.1"]}, "`drop_path` is a kind that this model does not"),
        ({"seeds": 0}, "at least one"),
        ({"budget": "10m", "seeds": 2}, "finds its arms and seeds; got `budget` with"),
        ({"budget": "ten minutes"}, "ten minutes"),
        ({"workers": 0}, "`workers` must be at least 1; got 0"),
        ({"steps": 0}, "`steps` must be an integer of at least 1; got 0"),
        ({"shape": {"wide": 3}}, "`shape` has the settings width, .*; got wide"),
        ({"train": {"lr": 3}}, "`train` has the settings steps, batch_size, .*; got lr"),
        ({"model": "absent_module:build"}, "There is no module `absent_module`"),
        ({"model": own.fail}, "Building your model failed: RuntimeError: on purpose"),
        ({"model": own.build_without_sites}, "`build_without_sites` has no dropout site"),
        ({"data": own.fail}, "Your loaders failed: RuntimeError: on purpose"),
        ({"data": None}, "needs its data"),
        ({"network": "mlp"}, "names a reference network"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_a_call_that_cannot_be_honoured_is_one_line_before_any_run(tmp_path, changes, message):
    asked = {"model": own.build, "data": own.loaders, "steps": 8, "seeds": None, **QUICK}
    with pytest.raises(UsageError, match=message) as caught:
        redrop.study(**{**asked, "out": tmp_path / "study", **changes})
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("study/runs/*"))


def test_recipes_and_words_may_stand_together():
    assert read_arms(["none", MINE])[1] is MINE
    plus = Recipe(name="a+b", dropout={"all": 0.1})
    assert read_arms(["none", plus])[1] == plus
    assert isinstance(StudyResult, type)
