"""A user's own recipes, from a TOML file."""

import tomllib
from pathlib import Path

from redrop.errors import UsageError
from redrop.train.recipe import Recipe


def read_recipes(path: str | Path) -> dict[str, Recipe]:
    """Read a file of tables `[name]`, each with what a `Recipe` has.

        [mine]
        label = "dropout 0.15 and strong decay"
        dropout = { all = 0.15, embedding = 0.0 }
        train = { weight_decay = 0.8 }

    Raises:
        UsageError: The file cannot be read, is not TOML, or holds what no recipe has.
    """
    path = Path(path)
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"Recipes are read from a TOML file; `{path}` cannot be read: {error.strerror}."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"`{path}` is not TOML: {error}.") from error
    recipes = {}
    for name, table in tables.items():
        if not isinstance(table, dict):
            raise UsageError(
                f"`{path}`: each recipe is a table `[name]`; `{name}` is {table!r}. Write "
                f"[{name}] and its settings below."
            )
        try:
            recipes[name] = Recipe.from_json({"label": name, **table, "name": name})
        except UsageError as error:
            raise UsageError(f"`{path}`: {error}") from error
    return recipes
