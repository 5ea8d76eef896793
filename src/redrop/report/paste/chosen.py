"""What there is to paste: the task, the settings of its runs, and the recipe with its rates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from redrop.errors import UsageError
from redrop.models.config import TransformerConfig
from redrop.models.rates import ELEMENTWISE, DropoutRates
from redrop.study.schema import StudyPlan
from redrop.study.stage import is_same
from redrop.tasks.spec import CONFIGS, TaskSpec, resolve_model
from redrop.train.config import TrainConfig
from redrop.train.recipe import EVERYWHERE, Recipe
from redrop.train.recipe_word import parse_recipe

_CONTEXT = TransformerConfig(vocab_size=1).context
GROUPS = ("dropout", "model", "train", "augment")


@dataclass(frozen=True, kw_only=True, slots=True)
class Chosen:
    """An arm of a study, resolved for its task.

    Args:
        spec: Of the task.
        recipe: Of the arm.
        shape: Settings of the network, without dropout and without the recipe's changes.
        train: Settings of a run, with the recipe's changes; its seed is 0.
        plain: The same without the recipe's changes.
        rates: p by kind of site, those above 0 only.
        patterns: p by pattern of site names, for a network of the user's own.
        unit: Of the loss.
    """

    spec: TaskSpec
    recipe: Recipe
    shape: Mapping[str, Any]
    train: TrainConfig
    plain: TrainConfig
    rates: Mapping[str, float]
    patterns: Mapping[str, float]
    unit: str

    @property
    def word(self) -> str | None:
        """The recipe as `redrop train --recipe` takes it; None for one that needs a file."""
        words = (self.recipe.name, "+".join(f"{key}-{value}" for key, value in self._entries()))
        return next((word for word in words if self._says_the_same(word)), None)

    @property
    def has_own_rates(self) -> bool:
        """Whether the network keeps the rates that it was built with."""
        return self.recipe.model.get("rates") == "own"

    def _entries(self) -> list[tuple[str, Any]]:
        return [item for group in GROUPS for item in getattr(self.recipe, group).items()]

    def _says_the_same(self, word: str) -> bool:
        try:
            return is_same(parse_recipe(word), self.recipe)
        except UsageError:
            return False


def choose(plan: StudyPlan, recipe: Recipe) -> Chosen | None:
    """Return what an arm of a plan amounts to, or None for a plan that does not name its task.

    Raises:
        UsageError: The recipe does not fit the task of the plan.
    """
    settings = plan.settings
    if "task" not in settings:
        return None
    spec = TaskSpec.from_json(settings["task"])
    plain = TrainConfig.from_json({**settings["train"], "seed": 0})
    rates, patterns = _rates(spec, settings["model"], recipe)
    return Chosen(
        spec=spec,
        recipe=recipe,
        shape={k: v for k, v in settings["model"].items() if k != "dropout"},
        train=TrainConfig.from_json({**asdict(plain), **recipe.train}),
        plain=plain,
        rates={kind: p for kind, p in rates.items() if p > 0},
        patterns=patterns,
        unit=plan.unit,
    )


def code(value: object) -> str:
    """Return a plain value as Python writes it, texts in double quotes.

    >>> code({"norm": "post", "layers": 2})
    '{"norm": "post", "layers": 2}'
    """
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{code(k)}: {code(v)}" for k, v in value.items()) + "}"
    return repr(value)


def changed_shape(chosen: Chosen) -> dict[str, Any]:
    """Return the settings of the network that are not its default and not given by the data."""
    if chosen.spec.network not in CONFIGS:  # a model of Hugging Face is told its context alone
        context = chosen.shape.get("context", _CONTEXT)
        return {} if context == _CONTEXT else {"context": context}
    usual = {
        name: member.default
        for name, member in CONFIGS[chosen.spec.network].__dataclass_fields__.items()
    }
    given = ("vocab_size", "features", "outputs", "image_size", "channels")
    return {k: v for k, v in chosen.shape.items() if k not in given and v != usual.get(k)}


def changed_train(config: TrainConfig) -> dict[str, Any]:
    """Return the settings of training that are not their default; threads are the machine's."""
    usual = asdict(TrainConfig())
    fields = {k: v for k, v in asdict(config).items() if k not in ("seed", "threads")}
    return {k: v for k, v in fields.items() if v != usual[k]}


def _rates(
    spec: TaskSpec, model: Mapping[str, Any], recipe: Recipe
) -> tuple[dict[str, float], dict[str, float]]:
    """Return the rates by kind; for a network of the user's, what is no kind as patterns, too."""
    if spec.network != "module":
        resolved: dict[str, float] = resolve_model(spec, model, recipe)["dropout"]
        return resolved, {}
    rates: dict[str, float] = {}
    patterns: dict[str, float] = {}
    for site, p in recipe.dropout.items():
        if site == EVERYWHERE:
            rates |= dict.fromkeys(ELEMENTWISE, p)
        elif site in DropoutRates.kinds():
            rates[site] = p
        else:
            patterns[site] = p
    return rates, patterns
