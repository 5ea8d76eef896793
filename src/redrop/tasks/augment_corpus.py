"""A corpus whose training part has augmented copies behind it; the held-out parts stay."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from redrop.data import Corpus
from redrop.errors import UsageError
from redrop.regularize.text import TextAugmentation, augment_text
from redrop.regularize.text.text_augmentation import EDITS, NOISE

CACHE_VARIABLE = "REDROP_CACHE"
KNOWN = (*NOISE, *EDITS, "back_translation", "paraphrase")


def cache_folder() -> Path:
    """Return where texts that models wrote are kept: $REDROP_CACHE, or ~/.cache/redrop."""
    return Path(os.environ.get(CACHE_VARIABLE, "~/.cache/redrop")).expanduser()


def text_augmentation(augment: Mapping[str, Any]) -> TextAugmentation:
    """Return what a recipe's strengths mean for a text.

    `back_translation` is given as two models with a comma between, there and back.

    Raises:
        UsageError: A name is no augmentation of text, or a value is refused.

    >>> text_augmentation({"mask": 0.1}).changes_text
    False
    """
    settings = dict(augment)
    if "back_translation" in settings:
        settings["back_translation"] = tuple(str(settings["back_translation"]).split(","))
    unknown = [name for name in settings if name not in KNOWN]
    if unknown:
        raise UsageError(
            f"A text can be augmented by {', '.join(KNOWN)}; got {', '.join(unknown)}."
        )
    for name in (*NOISE, *EDITS):
        if not isinstance(settings.get(name, 0.0), (int, float)):
            raise UsageError(f"`{name}` must be a number in [0, 1]; got {settings[name]!r}.")
    return TextAugmentation(**settings)


def augment_corpus(corpus: Corpus, spec: TextAugmentation, seed: int) -> Corpus:
    """Return the corpus with copies of its training text behind it.

    Args:
        corpus: Its tokenizer stays: every character of a copy stands in the training text.
        spec: Which copies.
        seed: Of the run.

    Raises:
        UsageError: The training part has no running text, or a model cannot be used.
    """
    text = corpus.tokenizer.decode(corpus.train)
    augmented = augment_text(text, spec, seed=seed, cache=cache_folder() / "generations")
    return replace(corpus, train=corpus.tokenizer.encode(augmented))
