"""Back-translation: into another language and back, by two models.

References:
    Sennrich, Haddow, Birch: Improving Neural Machine Translation Models with Monolingual Data.
    ACL 2016. https://aclanthology.org/P16-1009
    Edunov et al.: Understanding Back-Translation at Scale. EMNLP 2018.
    https://arxiv.org/abs/1808.09381
"""

from collections.abc import Sequence
from pathlib import Path

from redrop.regularize.text.generate import generate_sentences
from redrop.regularize.text.generation_settings import GenerationSettings, Progress


def back_translate(
    sentences: Sequence[str],
    there: str,
    back: str,
    settings: GenerationSettings,
    *,
    seed: int = 0,
    copy: int = 0,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Translate sentences with the model `there` and the result with the model `back`.

    One model is in memory at a time. Arguments, randomness and errors as for `generate_sentences`.

    Args:
        sentences: On one line each.
        there: Translates from the language of the sentences: Helsinki-NLP/opus-mt-en-de.
        back: Translates into it: Helsinki-NLP/opus-mt-de-en.
        settings: Used in both directions.
        seed: Of sampling.
        copy: Another number gives other translations.
        cache: A folder that keeps the sentences of both directions.
        progress: Told of both directions, each by the name of its model.

    Returns:
        One sentence per sentence.
    """
    foreign = generate_sentences(
        sentences, there, settings, seed=seed, copy=copy, cache=cache, progress=progress
    )
    return generate_sentences(
        foreign, back, settings, seed=seed, copy=copy, cache=cache, progress=progress
    )
