"""`redrop study` and `redrop train` on every kind of data, and options that contradict."""

import json

import numpy as np
import pytest
from PIL import Image

from redrop.study.records import read_study

QUICK = [
    "--steps=12",
    "--seeds=1",
    "--batch-size=8",
    "--precision=float32",
    "--width=16",
    "--layers=1",
]
TASKS = {
    "text": (["--context=16", "--heads=2", "markov:4000"], ["none", "all-0.2+weight_decay-1"]),
    "digits": (["--heads=2", "--patch-size=4", "--limit=100"], ["none", "all-0.2", "mixup-0.5"]),
    "table": ([], ["modern", "old", "modern+mixup-0.2+label_smoothing-0.1"]),
}
METRICS = {
    "text": {"accuracy"},
    "digits": {"accuracy", "macro_f1", "calibration_error"},
    "table": {"accuracy", "macro_f1", "calibration_error"},
}


@pytest.mark.parametrize("task", TASKS)
def test_a_study_of_a_task_ends_with_a_report_and_goes_on_to_nothing(tmp_path, redrop, task):
    options, arms = TASKS[task]
    command = ["study", "--task", task, *options, *QUICK, "--out=study", "--arms", *arms]
    code, out, error = redrop(*command)
    assert code == 0, error
    study = read_study(tmp_path / "study")
    assert study.missing == ()
    assert [arm.name for arm in study.plan.arms] == arms
    assert study.plan.unit == ("nats per token" if task == "text" else "nats")
    for run in study.runs:
        assert run.end.status == "done"
        assert run.end.test_metrics_best.keys() == METRICS[task]
        assert run.evals[-1].validation_metrics.keys() == METRICS[task]
        assert run.header.config["model"]["width"] == 16
    assert "Report: study/report.html" in out
    report = json.loads((tmp_path / "study" / "report.json").read_text(encoding="utf-8"))
    assert [each["recipe"]["name"] for each in report["arms"]] == arms
    assert report["regime"]["Parameters"].startswith(f"{study.plan.parameters:,} trainable, ")
    assert redrop(*command) == (0, out, "")


def test_a_file_that_ends_in_csv_is_a_table(tmp_path, redrop):
    rows = [f"{n},{(n * 7) % 11},{n * 0.5 + (n % 3)}" for n in range(80)]
    (tmp_path / "mine.csv").write_text("\n".join(["a,b,price", *rows]))
    code, out, error = redrop("study", "mine.csv", *QUICK, "--out=s", "--arms", "none", "all-0.1")
    assert code == 0, error
    study = read_study(tmp_path / "s")
    assert study.plan.settings["task"]["kind"] == "table"
    assert study.plan.unit == "squared standard deviations"
    assert study.runs[0].end.test_metrics_best.keys() == {"rmse", "mae", "r2"}
    assert "sd²" in out


def test_a_folder_of_classes_of_images_is_images(tmp_path, redrop):
    rng = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for n in range(16):
            sides = (9, 8 + n % 2, 3)
            image = Image.fromarray(rng.integers(0, 256, sides, dtype=np.uint8))
            image.save(tmp_path / "photos" / label / f"{n}.png")
    asked = ["study", "photos", *QUICK, "--heads=2", "--patch-size=4", "--arms", "none", "all-0.1"]
    code, _, error = redrop(*asked)
    assert code == 2
    assert "Resize all of them: `--image-size 32`" in error
    code, _, error = redrop(*asked, "--image-size=8", "--out=s")
    assert code == 0, error
    settings = read_study(tmp_path / "s").plan.settings
    assert (settings["task"]["kind"], settings["model"]["image_size"]) == ("images", 8)


def test_a_run_on_a_table_names_its_folder_after_data_and_recipe(tmp_path, redrop):
    for recipe in ("all-0.1", "all-0.2"):
        settings = ["--steps=8", "--warmup-steps=1", "--batch-size=8", "--eval-every=4"]
        code, out, error = redrop("train", "--task=table", "--recipe", recipe, *settings)
        assert code == 0, error
        assert f"Run: runs/breast_cancer-{recipe}-s0" in out
    assert len(list((tmp_path / "runs").iterdir())) == 2
    found = read_study(tmp_path / "runs" / "breast_cancer-all-0.2-s0")
    (run,) = found.runs
    assert found.plan.parameters
    assert run.header.config["model"]["dropout"]["feed_forward_hidden"] == 0.2


def test_recipes_of_ones_own_are_arms(tmp_path, redrop):
    (tmp_path / "mine.toml").write_text("[mine]\ndropout = { all = 0.15 }\ntrain = { l2 = 1e-4 }\n")
    arms = ["--recipes=mine.toml", "--arms", "none", "mine", "mine+ema-0.9"]
    code, _, error = redrop("study", "--task=table", *QUICK, "--out=study", *arms)
    assert code == 0, error
    runs = {run.header.arm: run.header.config for run in read_study(tmp_path / "study").runs}
    assert runs["mine"]["train"]["l2"] == 1e-4
    both = runs["mine+ema-0.9"]["train"]
    assert (both["l2"], both["ema"]) == (1e-4, 0.9)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task=sound"], "`task` must be one of text, digits, table, images; got 'sound'"),
        (["--model=mine:build"], "`--model my_module:build` needs its data"),
        (["--model=mine:build", "x:y", "--network=mlp"], "`--network` names a reference network"),
        (["--task=table", "--network=transformer"], "A decoder transformer reads text"),
        (["--task=table", "--network=vision_transformer"], "A vision transformer reads images"),
        (["markov:4000", "--network=mlp"], "A text is read by a transformer"),
        (["--task=table", "--target=price"], "price"),
        (["--task=table", "--heads=2"], "'heads'"),
        (["--task=table", "--arms", "none", "cutmix-1"], "cutmix"),
        (["--task=table", "--arms", "none", "drop_head-0.1"], "drops at drop_head, none of which"),
        (["--task=table", "--arms", "none", "norm-post"], "changes `norm`"),
        (["--task=table", "diabetes", "--arms", "none", "label_smoothing-0.1"],
         "`label_smoothing` acts on predicted classes"),
        (["--task=digits", "--arms", "none", "crop-8"], "`crop` must be less than a side"),
        (["--task=digits", "--arms", "none", "synonyms-0.1"], "synonyms"),
        (["markov:4000", "--arms", "none", "mixup-0.2"], "mixup"),
        (["markov:4000", "--arms", "none", "steps+all-0.1"], "An arm is the name of a recipe"),
        (["markov:4000", "--arms", "none", "weight_decay--1"], "`weight_decay` must be a finite"),
        (["markov:4000", "--arms", "none", "dropout_schedule-3"], "must be a word; got 3"),
        (["markov:4000", "--recipes=no.toml"], "`no.toml` cannot be read"),
    ],
    ids=lambda value: "_".join(value) if isinstance(value, list) else "",
)  # fmt: skip
def test_what_does_not_go_together_is_one_line_before_any_run(tmp_path, redrop, arguments, said):
    code, _, error = redrop("study", *arguments, "--steps=8", "--seeds=1")
    assert code == 2, error
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "studies").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task=table", "--recipe=cutmix-1"], "cutmix"),
        (["--task=table", "--recipe=drop_head-0.1"], "drops at drop_head"),
        (["--task=sound"], "`task` must be one of"),
        (["diabetes", "--task=table", "--recipe=none", "--r-drop=1"], "`r_drop` acts on predicted"),
        (["--task=table", "--ema=1"], "`ema` must lie in [0, 1); got 1"),
        (["--task=table", "--schedule=step"], 'Invalid value "step" for --schedule'),
    ],
)
def test_a_run_that_cannot_be_is_one_line_and_leaves_no_folder(tmp_path, redrop, arguments, said):
    code, _, error = redrop("train", *arguments)
    assert code == 2, error
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
