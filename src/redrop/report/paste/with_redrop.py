"""The arm for redrop itself: as a command, and in Python."""

import shlex
from typing import Any

from redrop.report.paste.chosen import GROUPS, Chosen, changed_shape, changed_train, code
from redrop.tasks.presets import preset
from redrop.train.recipe import Recipe

_TASKS = {"images": "images", "table": "table"}
_OPTIONS = ("width", "layers", "heads", "context", "patch_size", "norm")


def command(chosen: Chosen) -> str:
    """Return the `redrop train` command of the arm at seed 0."""
    spec = chosen.spec
    words = ["redrop", "train", spec.source]
    if spec.kind in _TASKS:
        words += ["--task", _TASKS[spec.kind]]
    if spec.model is not None:
        words += ["--model", spec.model]
    elif spec.network != preset(_TASKS.get(spec.kind)).network:
        words += ["--network", spec.network]
    given = {"loss": spec.loss, "limit": spec.limit, "target": spec.target}
    if spec.tokenizer != "char":
        given["tokenizer"] = spec.tokenizer
    shape = {k: v for k, v in changed_shape(chosen).items() if k in _OPTIONS}
    for name, value in {**given, **shape, **changed_train(chosen.plain)}.items():
        if value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    if chosen.word is not None:
        return shlex.join([*words, "--recipe", chosen.word])
    name = chosen.recipe.name
    return (
        f"# recipe.toml:\n{_toml(chosen.recipe)}\n\n"
        f"{shlex.join([*words, '--recipes', 'recipe.toml', '--recipe', name])}"
    )


def python(chosen: Chosen) -> str:
    """Return Python that trains the arm at seed 0, as the study did."""
    word = chosen.word
    recipe = f"parse_recipe({code(word)})" if word is not None else _recipe(chosen.recipe)
    maker = "recipe_word import parse_recipe" if word is not None else "recipe import Recipe"
    spec = {k: v for k, v in chosen.spec.to_json().items() if v is not None}
    spec = {k: v for k, v in spec.items() if (k, v) not in _USUAL}
    return (
        "from redrop.tasks.load import load_task\n"
        "from redrop.tasks.spec import TaskSpec\n"
        "from redrop.train import TrainConfig\n"
        "from redrop.train.loop import train\n"
        f"from redrop.train.{maker}\n\n"
        f"spec = TaskSpec({_keywords(spec)})\n"
        f"task = load_task(spec, {code(changed_shape(chosen))})\n"
        f"task = task.with_recipe({recipe}, seed=0)\n"
        f"config = {_call('TrainConfig', changed_train(chosen.train))}\n"
        'result = train(task, config, "checkpoints", print)\n'
    )


def own_loop(chosen: Chosen) -> str:
    """Return Python that gives the arm's rates to a model of the user's, in their own loop."""
    rates = {"*": 0.0, **chosen.recipe.dropout}
    change = "" if chosen.has_own_rates else f"set_rates(model, {code(rates)})\n"
    imports = "convert" if chosen.has_own_rates else "convert, set_rates"
    return (
        f"from redrop.integrations import {imports}\n"
        "from redrop.nn import attach\n\n"
        "# model: yours, built as ever\n"
        f"convert(model)\n{change}"
        "state = attach(model, seed=0)\n"
        "# In the loop, before each forward pass: state.set_step(step)\n"
    )


_USUAL = (("kind", "text"), ("network", "transformer"), ("tokenizer", "char"))


def _keywords(values: dict[str, Any]) -> str:
    return ", ".join(f"{name}={code(value)}" for name, value in values.items())


def _call(name: str, values: dict[str, Any]) -> str:
    """Return a call with one argument a line, or on one line where there are few."""
    line = f"{name}({_keywords(values)})"
    if len(line) <= 80:
        return line
    return f"{name}(\n" + "".join(f"    {k}={code(v)},\n" for k, v in values.items()) + ")"


def _recipe(recipe: Recipe) -> str:
    groups = {group: dict(getattr(recipe, group)) for group in GROUPS if getattr(recipe, group)}
    return f"Recipe({_keywords({'name': recipe.name, **groups})})"


def _toml(recipe: Recipe) -> str:
    lines = [f"[{_quoted(recipe.name)}]"]
    for group in GROUPS:
        entries = getattr(recipe, group)
        if entries:
            inner = ", ".join(f"{_quoted(k)} = {_quoted(v)}" for k, v in entries.items())
            lines.append(f"{group} = {{ {inner} }}")
    return "\n".join(lines)


def _quoted(value: object) -> str:
    """Return a key or a value as TOML writes it.

    >>> _quoted("blocks.0.*"), _quoted(True), _quoted(0.1)
    ('"blocks.0.*"', 'true', '0.1')
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)
