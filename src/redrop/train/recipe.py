"""A recipe: everything that is put against overfitting in one run, under one name.

It knows no torch and nothing of the task: which sites a network has, and which augmentations its
data can bear, is checked where the two meet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from redrop.errors import UsageError
from redrop.mask.threshold import threshold
from redrop.models.rates import DropoutRates

EVERYWHERE = "all"
"""The word for every elementwise site that a network has."""

Setting = float | int | bool | str


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What a run does against overfitting; an arm of a study is a recipe.

    Args:
        name: As a person types it, `all-0.2+weight_decay-0.3`.
        label: In words, for tables: "dropout 0.2 on all sites, weight decay 0.3".
        dropout: p by kind of site (`attention_weights`), by pattern of site names
            (`blocks.0.*`), or for `all`; a later entry overrides an earlier one.
        model: Changed settings of the network, such as {"norm": "post"}.
        train: Changed settings of `TrainConfig`, such as {"weight_decay": 0.3}.
        augment: Strength of each augmentation of the training data, such as {"mixup": 0.2}.
        source: Where its values come from.

    Raises:
        UsageError: A rate lies outside [0, 1], or a setting is no number, word or yes/no.

    >>> Recipe(name="mine", dropout={"all": 0.1}, train={"weight_decay": 0.3}).is_baseline
    False
    """

    name: str
    label: str = ""
    dropout: Mapping[str, float] = field(default_factory=dict)
    model: Mapping[str, Setting] = field(default_factory=dict)
    train: Mapping[str, Setting] = field(default_factory=dict)
    augment: Mapping[str, Setting] = field(default_factory=dict)
    source: str = ""

    def __post_init__(self) -> None:
        for site, p in self.dropout.items():
            try:
                threshold(p)
            except (UsageError, TypeError) as error:
                raise UsageError(f"Recipe {self.name!r}, dropout on `{site}`: {error}") from error
        for group in ("model", "train", "augment"):
            for key, value in getattr(self, group).items():
                if not isinstance(value, (bool, int, float, str)):
                    raise UsageError(
                        f"Recipe {self.name!r}: `{group}.{key}` must be a number, a word or "
                        f"true/false; got {value!r}."
                    )

    @property
    def is_baseline(self) -> bool:
        """Whether it changes nothing: no dropout, and the study's own settings."""
        return not (any(self.dropout.values()) or self.model or self.train or self.augment)

    def rates(self, kinds: tuple[str, ...], elementwise: tuple[str, ...]) -> dict[str, float]:
        """Return p of each kind of site that a network has.

        A recipe of several kinds applies to those that the network has: that is how one recipe
        serves networks of all sorts.

        Args:
            kinds: That it has.
            elementwise: Those of them that `all` stands for.

        Raises:
            UsageError: It names what is no kind of site, or drops nowhere that the network has.

        >>> recipe = Recipe(name="r", dropout={"all": 0.2, "embedding": 0.0})
        >>> recipe.rates(("embedding", "feed_forward_hidden", "drop_path"),
        ...     ("embedding", "feed_forward_hidden"))
        {'embedding': 0.0, 'feed_forward_hidden': 0.2, 'drop_path': 0.0}
        """
        rates = dict.fromkeys(kinds, 0.0)
        for site, p in self.dropout.items():
            if site == EVERYWHERE:
                rates |= dict.fromkeys(elementwise, p)
            elif site in rates:
                rates[site] = p
            elif site not in DropoutRates.kinds():
                raise UsageError(
                    f"Recipe {self.name!r} drops at `{site}`, which is no kind of site. Kinds: "
                    f"{', '.join(DropoutRates.kinds())}."
                )
        if any(self.dropout.values()) and not any(rates.values()):
            raise UsageError(
                f"Recipe {self.name!r} drops at {', '.join(self.dropout)}, none of which this "
                f"network has. It has: {', '.join(kinds) or 'no site'}."
            )
        return rates

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the recipe that `dataclasses.asdict` made into plain JSON values.

        Raises:
            UsageError: A field is unknown or missing, or its value is refused.

        >>> from dataclasses import asdict
        >>> Recipe.from_json(asdict(Recipe(name="none"))).name
        'none'
        """
        known = {member.name for member in fields(cls)}
        unknown = sorted(stored.keys() - known)
        if unknown or not isinstance(stored.get("name"), str):
            what = f"unknown: {', '.join(unknown)}" if unknown else "its `name` is missing"
            raise UsageError(f"A recipe has the fields {', '.join(sorted(known))}; {what}.")
        for word in ("label", "source"):
            if not isinstance(stored.get(word, ""), str):
                raise UsageError(
                    f"Recipe {stored['name']!r}: `{word}` must be a text; got {stored[word]!r}."
                )
        for group in ("dropout", "model", "train", "augment"):
            if not isinstance(stored.get(group, {}), Mapping):
                raise UsageError(
                    f"Recipe {stored['name']!r}: `{group}` must be a table of names and values; "
                    f"got {stored[group]!r}."
                )
        return cls(**stored)


def compose(recipes: tuple[Recipe, ...], name: str) -> Recipe:
    """Return one recipe with everything the given ones do; a later one overrides an earlier one.

    >>> both = compose((Recipe(name="a", dropout={"all": 0.1}), Recipe(name="b",
    ...     dropout={"embedding": 0.0}, label="no embedding dropout")), "a+b")
    >>> dict(both.dropout), both.label
    ({'all': 0.1, 'embedding': 0.0}, 'no embedding dropout')
    """
    merged: dict[str, dict[str, Any]] = {"dropout": {}, "model": {}, "train": {}, "augment": {}}
    for recipe in recipes:
        for group, values in merged.items():
            values |= getattr(recipe, group)
    label = ", ".join(recipe.label for recipe in recipes if recipe.label)
    dropout, model, train, augment = merged.values()
    return Recipe(
        name=name, label=label, dropout=dropout, model=model, train=train, augment=augment
    )
