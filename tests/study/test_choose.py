"""What data are by their name, and which options go with them."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.data import images, table_source
from redrop.errors import UsageError
from redrop.study import choose
from redrop.study.choose import choose_task, task_of
from redrop.study.options import DataOptions, ModelOptions, TaskOptions, TrainOptions
from redrop.tasks.presets import PRESETS, REFERENCE
from redrop.tasks.spec import TaskSpec

SMALL = ModelOptions(width=16, layers=1, heads=2, context=16)


def write(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return str(folder)


def test_the_endings_are_those_that_the_data_layer_reads():
    assert choose.TABLES == table_source.SUFFIXES
    assert choose.IMAGES == images.SUFFIXES


@pytest.mark.parametrize("name", ["a.csv", "b.TSV", "c.parquet", "folder/d.csv"])
def test_a_table_is_known_by_its_ending(name):
    assert task_of(name) == "table"


@pytest.mark.parametrize(
    ("names", "task"),
    [
        (["cat/0.png", "dog/1.JPG"], "images"),
        (["cat/0.png", "cat/1.jpeg", "dog/2.png", "dog/labels.txt", "README.md"], "images"),
        (["0.png", "1.png"], "images"),
        (["cat/0.png", "cat/1.png", "dog/.hidden.txt", ".git/a", ".git/b", ".git/c"], "images"),
        (["a.txt", "b.txt", "figure.png"], None),
        (["chapter/a.txt", "chapter/figure.png"], None),
        (["deep/er/cat/0.png"], None),
        ([], None),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_a_folder_that_is_mostly_images_is_images(tmp_path, names, task):
    assert task_of(write(tmp_path, *names)) == task


@given(st.sampled_from(["markov", "markov:16000", "reference:8000", "my.txt", "no-such-folder"]))
def test_all_else_is_a_text(name):
    assert task_of(name) is None


@pytest.mark.parametrize("data", ["mm:build", "my_module.py:loaders", "package.module:make"])
def test_a_function_without_a_model_is_told_what_it_needs(data):
    with pytest.raises(UsageError, match="names a function of yours, which needs a model of yours"):
        choose_task(data, TaskOptions(), ModelOptions(), DataOptions())


def test_a_file_with_a_colon_in_its_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes:draft").write_text("to be or not to be " * 40)
    chosen = choose_task("notes:draft", TaskOptions(), SMALL, DataOptions())
    assert chosen.spec.kind == "text"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (DataOptions(target="price"), "`--target` is for a task of table; got it with text"),
        (DataOptions(predict="values"), "`--predict` is for a task of table"),
        (DataOptions(image_size=8), "`--image-size` is for a task of images; got it with text"),
    ],
    ids=["target", "predict", "image_size"],
)
def test_an_option_of_other_data_is_refused(options, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        choose_task("markov:4000", TaskOptions(), SMALL, options)


@pytest.mark.parametrize("margin", [-1.0, float("nan"), float("inf")])
def test_a_margin_is_none_of_these(margin):
    chosen = choose_task("markov:4000", TaskOptions(), SMALL, DataOptions())
    with pytest.raises(UsageError, match=f"`margin` is the smallest .*; got {margin:g}. Leave"):
        chosen.question(TrainOptions(), margin, "")
    assert chosen.question(TrainOptions(), 0.0, "").margin == 0.0


def test_the_help_of_task_says_what_each_of_the_two_studies_of_a_text_is():
    said = " ".join(TaskOptions.__doc__.split())
    for preset in (REFERENCE, PRESETS["text"]):
        *first, last = preset.arms
        arms = f"{', '.join(first)} and {last} in {preset.seeds} seeds of {preset.steps} steps"
        assert f"{arms}, by default of {preset.source}" in said


def test_what_a_spec_is_asked_reaches_the_data(tmp_path):
    rows = [f"{n % 7},{n}" for n in range(60)]
    (tmp_path / "t.csv").write_text("\n".join(["a,price", *rows]))
    path = str(tmp_path / "t.csv")
    asked = DataOptions(predict="values")
    chosen = choose_task(path, TaskOptions(), ModelOptions(), asked)
    assert chosen.spec == TaskSpec(kind="table", source=path, network="mlp", predict="values")
    assert not chosen.task.is_classification
    with pytest.raises(UsageError, match="60 different values .* pass `--predict values`"):
        choose_task(path, TaskOptions(), ModelOptions(), replace(asked, predict=None))
