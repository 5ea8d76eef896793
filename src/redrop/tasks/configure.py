"""Where a recipe meets a reference network; knows no torch."""

from dataclasses import fields, replace
from typing import Any, TypeVar

from redrop.errors import UsageError
from redrop.models.config import MLPConfig, TransformerConfig, VisionTransformerConfig
from redrop.models.rates import DropoutRates
from redrop.train.recipe import Recipe

Config = TypeVar("Config", bound=TransformerConfig | VisionTransformerConfig | MLPConfig)

ELEMENTWISE = (*DropoutRates.sites(), "pre_activation")
"""What a recipe's `all` stands for, as far as a network has it."""

_SHAPE = {"vocab_size", "context", "image_size", "channels", "features", "outputs", "dropout"}
_MANNERS: dict[object, dict[str, Any]] = {"old": {"norm": "post"}, "modern": {"norm": "pre"}}
"""What the manners mean for a transformer: where its norm stands. `norm_layer` takes it away."""


def configure(config: Config, recipe: Recipe) -> Config:
    """Return the network's settings with a recipe's changes and rates.

    Raises:
        UsageError: The network has no such setting, or none of the sites that the recipe names.

    >>> config = TransformerConfig(vocab_size=65)
    >>> configure(config, Recipe(name="r", dropout={"all": 0.1}, model={"norm": "post"})).norm
    'post'
    """
    changes: dict[str, Any] = dict(recipe.model)
    if not isinstance(config, MLPConfig) and "network" in changes:
        manner = changes.pop("network")
        if manner not in _MANNERS:
            raise UsageError(f'`network` must be "old" or "modern"; got {manner!r}.')
        changes = {**_MANNERS[manner], **changes}
    known = {member.name for member in fields(config)} - _SHAPE
    for name in changes:
        if name not in known:
            raise UsageError(
                f"Recipe {recipe.name!r} changes `{name}`, which this network does not have. It "
                f"has: {', '.join(sorted(known))}."
            )
    changed: Config = replace(config, dropout=DropoutRates(), **changes)
    elementwise = tuple(kind for kind in changed.kinds if kind in ELEMENTWISE)
    rates = recipe.rates(changed.kinds, elementwise)
    return replace(changed, dropout=DropoutRates(**rates))
