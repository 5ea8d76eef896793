"""What is printed to be pasted is run, and its fields are looked up where they have to exist."""

import ast
import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from redrop.report import write_report
from redrop.report.paste import configurations
from redrop.report.paste.with_pytorch import BETAS, MOMENTUM
from redrop.study.plan import planned_runs
from redrop.study.stage import Stage, is_same
from redrop.tasks.spec import TaskSpec
from redrop.train import optimizer
from redrop.train.config import TrainConfig
from redrop.train.recipe import Recipe
from redrop.train.recipe_file import read_recipes
from redrop.train.recipe_word import parse_recipe
from redrop.train.schedule import learning_rate
from tests.report.protocol_folder import make_plan, write_runs
from tests.study.surface import Surface

TINY = {"steps": 4, "warmup_steps": 1, "eval_every": 2, "eval_tokens": 64}
NONE = parse_recipe("none")
DIGITS = TaskSpec(kind="images", source="digits", network="vision_transformer", limit=60)
DIGITS_MODEL = {"image_size": 8, "outputs": 10, "channels": 1, "patch_size": 4, "width": 16}
TABLE = TaskSpec(kind="table", source="breast_cancer", network="mlp", limit=60)
TABLE_MODEL = {"features": 30, "outputs": 2, "width": 16}
TASKS = {
    "text": {},
    "images": {"spec": DIGITS, "model": DIGITS_MODEL},
    "table": {"spec": TABLE, "model": TABLE_MODEL},
}
WORD = "all-0.1+weight_decay-0.5+label_smoothing-0.1"


def pasted(recipe: Recipe, task: str = "text", **train) -> dict[str, str]:
    return dict(configurations(make_plan((NONE,), train={**TINY, **train}, **TASKS[task]), recipe))


@pytest.mark.parametrize("task", TASKS)
def test_the_python_runs_and_trains_what_the_study_trained(task, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = parse_recipe(WORD)
    found: dict = {}
    exec(pasted(recipe, task)["redrop, Python"], found)
    assert found["result"].status == "done"
    arms = (NONE, recipe)
    plan = make_plan(arms, (0,), train=TINY, **TASKS[task])
    planned = planned_runs(plan)[1]
    assert dataclasses.replace(found["config"], threads=1) == planned.train
    settings = json.loads(json.dumps(found["task"].settings()))
    ours = {k: v for k, v in settings["model"].items() if k in planned.config["model"]}
    sizes = {"vocab_size", "features"}  # of the made-up plan
    assert {k: v for k, v in ours.items() if k not in sizes} == {
        k: v for k, v in planned.config["model"].items() if k not in sizes
    }


def test_the_command_runs_and_its_run_has_the_settings_of_the_arm(tmp_path: Path) -> None:
    recipe = parse_recipe("attention_weights-0.3+weight_decay-1")
    line = pasted(recipe)["redrop, command line"]
    assert "\n" not in line
    words = shlex.split(line)
    assert words[0] == "redrop"
    out = [sys.executable, "-m", "redrop", *words[1:], "--out", str(tmp_path / "run")]
    result = subprocess.run(out, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert result.returncode == 0, result.stderr
    plan = json.loads((tmp_path / "run" / "study.json").read_text())
    assert is_same(Recipe.from_json(plan["arms"][0]), recipe)
    expected = TrainConfig(**{**TINY, "batch_size": 4}).to_json()
    for name in set(expected) - {"seed", "threads"}:
        assert plan["settings"]["train"][name] == expected[name], name


def test_a_recipe_that_is_no_word_comes_with_its_file(tmp_path: Path) -> None:
    recipe = Recipe(name='my "arm"', dropout={"blocks.0.*": 0.2, "all": 0.1}, train={"l2": 0.5})
    spec = TaskSpec(kind="module", source="mine:data", network="module", model="mine:build")
    plan = make_plan((NONE,), spec=spec, model={})
    text = dict(configurations(plan, recipe))["redrop, command line"]
    *file, command = text.splitlines()
    (tmp_path / "recipe.toml").write_text("\n".join(file))
    (own,) = read_recipes(tmp_path / "recipe.toml").values()
    assert is_same(own, recipe)
    words = shlex.split(command)
    assert words[-4:] == ["--recipes", "recipe.toml", "--recipe", recipe.name]
    assert words[2:5] == ["mine:data", "--model", "mine:build"]


SETTINGS = st.sampled_from(
    [
        *("all-0.1", "embedding-0.2", "attention_weights-0.3", "drop_path-0.1", "drop_head-0.1"),
        *("weight_decay-1", "label_smoothing-0.1", "ema-0.99", "l2-0.1", "clip_value-0.5"),
        *("clip_norm-0", "schedule-linear", "schedule-constant", "warmup_steps-0", "r_drop-1"),
        *(
            "norm-post",
            "norm_layer-none",
            "optimizer-sgd",
            "mask-0.1",
            "dropout_schedule-early-0.2",
            "learning_rate-0.002",
        ),
    ]
)


@settings(max_examples=25, deadline=None)
@given(st.lists(SETTINGS, max_size=6, unique_by=lambda word: word.partition("-")[0]))
def test_the_plain_pytorch_runs_and_follows_the_schedule(words: list[str]) -> None:
    recipe = parse_recipe("+".join(["none", *words]))
    code = pasted(recipe, steps=9, warmup_steps=3)["Plain PyTorch"]
    model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 2))
    found = {"model": model}
    exec(code, found)
    plan = make_plan((recipe,), (0,), train={**TINY, "steps": 9, "warmup_steps": 3})
    config = planned_runs(plan)[0].train
    rates = []
    for _ in range(config.steps):
        rates.append(found["optimizer"].param_groups[0]["lr"])
        loss = found["criterion"](model(torch.randn(5, 3)), torch.zeros(5, dtype=torch.int64))
        found["train_step"](loss)
    assert rates == pytest.approx([learning_rate(step, config) for step in range(config.steps)])
    decays = [group["weight_decay"] for group in found["optimizer"].param_groups]
    assert decays == [config.weight_decay, 0]
    is_sgd = "optimizer-sgd" in words
    assert type(found["optimizer"]) is (torch.optim.SGD if is_sgd else torch.optim.AdamW)
    assert found["criterion"].label_smoothing == config.label_smoothing
    dropouts = {name: each.p for name, each in found.items() if isinstance(each, nn.Dropout)}
    layered = {f"{kind}_dropout": p for kind, p in _rates(recipe).items() if kind in _LAYERED}
    assert dropouts == layered
    for word in (
        "drop_path",
        "drop_head",
        "r_drop",
        "norm",
        "norm_layer",
        "mask",
        "dropout_schedule",
    ):
        is_there = any(each.startswith(f"{word}-") for each in words)
        assert bool(re.search(rf"^# - {word} ", code, re.MULTILINE)) == is_there, word


_LAYERED = ("embedding", "attention_residual", "feed_forward_hidden", "feed_forward_residual")


def _rates(recipe: Recipe) -> dict[str, float]:
    (run,) = planned_runs(make_plan((recipe,), (0,)))
    return {kind: p for kind, p in run.config["model"]["dropout"].items() if p}


def test_the_constants_are_those_of_the_study() -> None:
    assert BETAS == optimizer.BETAS
    assert MOMENTUM == optimizer.MOMENTUM


@pytest.mark.parametrize("word", ["none", "adam", "sgd"])
def test_the_pasted_optimizer_takes_the_steps_of_the_study(word: str) -> None:
    recipe = parse_recipe(word)
    plan = make_plan((recipe,), (0,), train=TINY)
    models = [nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4)) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    found: dict = {"model": models[0]}
    exec(pasted(recipe)["Plain PyTorch"], found)
    ours = optimizer.build_optimizer(models[1], planned_runs(plan)[0].train)
    for each, model in zip((found["optimizer"], ours), models, strict=True):
        for group in each.param_groups:
            group["lr"] = 0.1
        for number in range(3):
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, number - 0.5)
            each.step()
    for one, other in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("word", "kind", "own"),
    [
        ("none", torch.optim.AdamW, {"betas": (0.9, 0.99)}),
        ("adam", torch.optim.AdamW, {"betas": (0.9, 0.99)}),
        ("sgd", torch.optim.SGD, {"momentum": 0.9}),
    ],
)
def test_hugging_face_makes_the_optimizer_of_it(word: str, kind: type, own: dict) -> None:
    transformers = pytest.importorskip("transformers")
    arguments = calls(pasted(parse_recipe(word))["Hugging Face"])["TrainingArguments"]
    asked = object.__new__(transformers.TrainingArguments)  # making one asks for `accelerate`
    for name, value in arguments.items():
        setattr(asked, name, value)
    made, values = transformers.Trainer.get_optimizer_cls_and_kwargs(asked)
    assert made is kind
    assert own.items() <= values.items()
    assert asked.weight_decay == TrainConfig(**parse_recipe(word).train).weight_decay


def test_a_model_of_ones_own_is_set_as_in_the_study() -> None:
    spec = TaskSpec(kind="module", source="mine:data", network="module", model="mine:build")
    plan = make_plan((NONE,), spec=spec, model={})
    found = dict(configurations(plan, parse_recipe("all-0.25")))
    assert "Hugging Face" not in found
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    exec(found["Plain PyTorch"], {"model": model})
    assert model[1].p == 0.25
    model = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))
    names: dict = {"model": model}
    exec(found["redrop, your own training loop"], names)
    names["state"].set_step(0)
    assert model[1].p == 0.25
    own = dict(configurations(plan, parse_recipe("as-is")))
    assert "set_rates" not in own["redrop, your own training loop"]
    assert "unchanged" in own["Plain PyTorch"]


def calls(code: str) -> dict[str, dict[str, object]]:
    return {
        node.func.id: {each.arg: ast.literal_eval(each.value) for each in node.keywords}
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


@pytest.mark.parametrize("task", ["text", "images"])
def test_the_fields_of_hugging_face_exist_and_carry_the_rates(task: str) -> None:
    transformers = pytest.importorskip("transformers")
    recipe = parse_recipe(f"{WORD}+schedule-linear")
    for name, arguments in calls(pasted(recipe, task)["Hugging Face"]).items():
        kind = getattr(transformers, name)
        if name == "TrainingArguments":
            assert arguments.keys() <= {field.name for field in dataclasses.fields(kind)}
            assert arguments["weight_decay"] == 0.5
            assert arguments["label_smoothing_factor"] == 0.1
            kinds = [each.value for each in transformers.SchedulerType]
            assert arguments["lr_scheduler_type"] in kinds
        else:
            usual = kind()
            assert all(hasattr(usual, field) for field in arguments), name
            assert set(arguments.values()) == {0.1}
            made = kind(**arguments)
            assert all(getattr(made, field) == 0.1 for field in arguments)
    for schedule in ("cosine", "linear", "constant"):
        code = pasted(parse_recipe(f"schedule-{schedule}"))["Hugging Face"]
        asked = calls(code)["TrainingArguments"]["lr_scheduler_type"]
        assert asked in [each.value for each in transformers.SchedulerType]


def test_what_hugging_face_cannot_say_is_said() -> None:
    code = pasted(parse_recipe("attention_residual-0.2+feed_forward_hidden-0.1+ema-0.9+mask-0.1"))
    text = code["Hugging Face"]
    assert "resid_pdrop=0.2" in text
    assert "resid_pdrop is one number for several sites" in text
    assert "attention_residual 0.2, feed_forward_residual 0" in text
    assert "GPT-2 has no field for feed_forward_hidden 0.1" in text
    assert "Llama has no field for attention_residual 0.2" in text
    assert "TrainingArguments has no field for ema 0.9" in text
    assert "no field for mask 0.1" in text
    assert "does not map" not in pasted(NONE)["Hugging Face"]


def test_nothing_is_pasted_without_a_recommendation_or_a_task() -> None:
    plan = make_plan((NONE,))
    assert configurations(plan, None) == ()
    silent = dataclasses.replace(plan, settings={**plan.settings, "task": None})
    without = {k: v for k, v in silent.settings.items() if k != "task"}
    assert configurations(dataclasses.replace(plan, settings=without), NONE) == ()


def test_the_ordinary_report_has_them_below_the_verdict(tmp_path: Path) -> None:
    arms = (NONE, parse_recipe("all-0.2"))
    plan = make_plan(arms, (0, 1, 2, 3))
    surface = Surface(change=lambda recipe: -0.1 * bool(recipe.dropout), own=1e-3)
    stage = Stage(name="s", kind="confirm", arms=arms, seeds=plan.seeds, steps=800, reason="")
    study = surface.study(stage)
    paths = write_report(write_runs(tmp_path, plan, study))
    expected = dict(configurations(plan, arms[1]))
    assert json.loads(paths.json.read_text())["configurations"] == expected
    page = paths.html.read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.index("<h1>") < page.index("The configuration to paste") < page.index("The arms")
    assert "--recipe all-0.2" in page
    assert page.count("<details") == len(expected) + 2
