"""The arms of a study: recipes that are compared with the first of them."""

from collections.abc import Iterable, Mapping

from redrop.errors import UsageError
from redrop.train.recipe import Recipe
from redrop.train.recipe_word import parse_recipe


def parse_arms(names: Iterable[str], own: Mapping[str, Recipe] | None = None) -> tuple[Recipe, ...]:
    """Build the arms of a study; the first one is the baseline that the others are compared to.

    Args:
        names: Words that `parse_recipe` reads.
        own: The user's recipes by name.

    Raises:
        UsageError: Fewer than two arms, two arms of one name, or a word that is no recipe.

    >>> [arm.label for arm in parse_arms(["none", "all-0.2"])]
    ['no dropout', 'dropout 0.2 on all sites']
    """
    arms = tuple(parse_recipe(name, own) for name in names)
    if len({arm.name for arm in arms}) < max(len(arms), 2):
        raise UsageError(
            "A study compares at least two different arms; got "
            f"{', '.join(arm.name for arm in arms) or 'none'}. Try: none all-0.1 all-0.2."
        )
    return arms
