"""A recipe from a word that a person can type: `all-0.2+weight_decay-0.3+mixup-0.2`."""

import difflib
from collections.abc import Mapping
from dataclasses import replace

from redrop.errors import UsageError
from redrop.train.config import TrainConfig
from redrop.train.recipe import EVERYWHERE, Recipe, Setting, compose
from redrop.train.recipes import RECIPES

SITES = {
    EVERYWHERE: "all sites",
    "embedding": "the embedding",
    "attention_weights": "attention weights",
    "attention_residual": "attention's residual projection",
    "feed_forward_hidden": "the feed-forward block",
    "feed_forward_residual": "the feed-forward block's residual projection",
    "pre_activation": "what enters the activation function",
}

STRUCTURES = {
    "token_dropout": "token dropout",
    "drop_head": "DropHead",
    "drop_path": "DropPath up to",
    "layer_drop": "LayerDrop",
}

_TRAIN = {
    "optimizer": "optimizer",
    "weight_decay": "weight decay",
    "l2": "L2 in the loss",
    "clip_norm": "gradients clipped at norm",
    "clip_value": "gradients clipped at",
    "label_smoothing": "label smoothing",
    "entropy_penalty": "entropy penalty",
    "r_drop": "R-Drop",
    "ema": "averaged weights",
    "patience": "early stopping after",
    "learning_rate": "learning rate",
    "warmup_steps": "warm-up of",
    "schedule": "learning rate schedule",
    "dropout_schedule": "dropout schedule",
    "concrete": "learned dropout rates, weight",
}

_MODEL = {
    "norm": "norm",
    "norm_layer": "norm layer",
    "residual": "residual connections",
    "init": "initial weights",
    "network": "network",
    "activation": "activation",
}

_AUGMENT = {
    "mixup": "mixup",
    "cutmix": "cutmix",
    "erasing": "random erasing",
    "flip": "random flips",
    "crop": "random crops",
    "mask": "masked tokens",
    "replace": "replaced tokens",
    "synonyms": "synonyms",
    "insert": "inserted words",
    "swap": "swapped words",
    "delete": "deleted words",
    "back_translation": "back-translation",
    "paraphrase": "paraphrases",
}

SETTINGS = {"dropout": STRUCTURES, "train": _TRAIN, "model": _MODEL, "augment": _AUGMENT}
_SAID = {"norm_layer-none": "no norm layers", "optimizer-sgd": "SGD with momentum"}
"""Labels of words that read badly as setting and value."""

WORDS = {"on": True, "off": False, "true": True, "false": False}


def parse_recipe(name: str, own: Mapping[str, Recipe] | None = None) -> Recipe:
    """Build a recipe from its word.

    A word is the name of a recipe (`none`, `gpt2`, one of the user's own), or `setting-value`
    (`attention_weights-0.1`, `weight_decay-0.3`, `norm-post`, `mixup-0.2`), or several of them
    joined by `+`; a later part overrides an earlier one.

    Args:
        name: The word.
        own: The user's recipes by name; they come before those of the package.

    Raises:
        UsageError: A part is neither a recipe nor a setting, or its value is refused.

    >>> parse_recipe("attention_weights-0.1").label
    'dropout 0.1 on attention weights'
    >>> dict(parse_recipe("all-0.1+weight_decay-0.3").train)
    {'weight_decay': 0.3}
    """
    known = {**RECIPES, **(own or {})}
    if name in known:
        return known[name]
    parts = tuple(known.get(part) or _parse_part(part, name) for part in name.split("+"))
    if not all(site == EVERYWHERE or site in SITES for recipe in parts for site in recipe.dropout):
        return compose(parts, name)
    return _with_one_dropout_label(compose(parts, name), parts)


def _parse_part(part: str, name: str) -> Recipe:
    setting, dash, text = part.partition("-")
    if not dash or not text:
        raise _unknown(part, name)
    if setting in SITES:
        p = _rate(text, name)
        return Recipe(name=part, label=f"dropout {p:g} on {SITES[setting]}", dropout={setting: p})
    for group, labels in SETTINGS.items():
        if setting in labels:
            value = _rate(text, name) if group == "dropout" else _value(text)
            if group == "train":  # at the door: a run would refuse it later
                TrainConfig(**{"min_learning_rate": 0.0, "weight_decay": 0.0, setting: value})  # type: ignore[arg-type]
            label = _SAID.get(part, f"{labels[setting]} {text}")
            return replace(Recipe(name=part, label=label), **{group: {setting: value}})  # type: ignore[arg-type]
    raise _unknown(part, name)


def _with_one_dropout_label(recipe: Recipe, parts: tuple[Recipe, ...]) -> Recipe:
    """Say "dropout" once: "dropout 0.2 on all sites, 0 on the embedding"."""
    prefix = "dropout "
    labels: list[str] = []
    for part in parts:
        is_repeated = any(label.startswith(prefix) for label in labels)
        label = part.label
        labels.append(label.removeprefix(prefix) if is_repeated else label)
    return replace(recipe, label=", ".join(label for label in labels if label))


def _rate(text: str, name: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"`p` of an arm must be a number; got {name!r}.") from error


def _value(text: str) -> Setting:
    if text in WORDS:
        return WORDS[text]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _unknown(part: str, name: str) -> UsageError:
    setting, _, text = part.partition("-")
    words = [*RECIPES, *SITES, *(word for labels in SETTINGS.values() for word in labels)]
    near = difflib.get_close_matches(setting, words, n=1)
    meant = [word if word in RECIPES else f"{word}-{text or 'VALUE'}" for word in near]
    hint = f" Did you mean {meant[0]!r}?" if meant else ""
    return UsageError(
        "An arm is the name of a recipe or `setting-value`, several joined by `+`, such as none, "
        f"all-0.2 or all-0.1+weight_decay-0.3; got {name!r}.{hint} `redrop recipes` lists them "
        f"all. Sites: {', '.join(SITES)}, {', '.join(STRUCTURES)}."
    )
