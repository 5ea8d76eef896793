"""`redrop recipes`."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from redrop.cli.options import Json
from redrop.train.recipe import Recipe
from redrop.train.recipe_file import read_recipes
from redrop.train.recipe_word import SETTINGS, SITES, STRUCTURES, parse_recipe
from redrop.train.recipes import RECIPES


def recipes(name: str | None = None, *, file: Path | None = None, json_: Json = False) -> None:
    """List what can stand against overfitting: named recipes, and the words of your own.

    Args:
        name: Show everything that this recipe, or any word such as gpt2+weight_decay-1, does, and
            its source.
        file: A TOML file with recipes of your own; they are listed with the others.
        json_: Print one JSON document on standard output.
    """
    known = RECIPES | (read_recipes(file) if file else {})
    if name is not None:
        known = {name: parse_recipe(name, known)}
    if json_:
        print(json.dumps({each: asdict(recipe) for each, recipe in known.items()}))
        return
    console = Console()
    table = Table(
        "Recipe", "What it does", "Settings", box=None, pad_edge=False, padding=(0, 2, 0, 0)
    )
    for each, recipe in known.items():
        table.add_row(each, recipe.label, _settings(recipe))
    console.print(table)
    if name is not None and known[name].source:
        console.print(f"\nSource: {known[name].source}", highlight=False)
    if name is None:
        console.print("\n" + _words(), highlight=False, markup=False)


def _settings(recipe: Recipe) -> str:
    groups: tuple[Mapping[str, object], ...] = (
        recipe.dropout,
        recipe.model,
        recipe.train,
        recipe.augment,
    )
    return ", ".join(f"{key} {value}" for group in groups for key, value in group.items()) or "–"


def _words() -> str:
    return (
        "Any of these can be joined by +, with settings of your own, as in gpt2+weight_decay-0.3:\n"
        f"  dropout      {', '.join(f'{site}-p' for site in (*SITES, *STRUCTURES))}\n"
        f"  training     {', '.join(SETTINGS['train'])}\n"
        f"  network      {', '.join(SETTINGS['model'])}\n"
        f"  augmentation {', '.join(SETTINGS['augment'])}\n"
        "Your own, in a TOML file (--file here, --recipes for study and train):\n"
        "  [mine]\n"
        "  dropout = { all = 0.15, embedding = 0.0 }\n"
        "  train = { weight_decay = 0.8 }"
    )
