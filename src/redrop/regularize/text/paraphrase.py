"""Paraphrasing: one text-to-text model that was taught to say the same in other words."""

from collections.abc import Sequence
from pathlib import Path

from redrop.regularize.text.generate import generate_sentences
from redrop.regularize.text.generation_settings import PROMPT, GenerationSettings, Progress


def paraphrase(
    sentences: Sequence[str],
    model: str,
    settings: GenerationSettings,
    *,
    prompt: str = PROMPT,
    seed: int = 0,
    copy: int = 0,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Let a model say each sentence in other words.

    Arguments, randomness and errors as for `generate_sentences`.

    Args:
        sentences: On one line each.
        model: A folder or an id on the hub, of a model fine-tuned to paraphrase, which a plain T5
            is not.
        settings: Beam search or sampling, and how much.
        prompt: Put before each sentence.
        seed: Of sampling.
        copy: Another number gives other paraphrases.
        cache: A folder that keeps them.
        progress: Told how many sentences are done.

    Returns:
        One sentence per sentence.
    """
    return generate_sentences(
        sentences,
        model,
        settings,
        seed=seed,
        copy=copy,
        prefix=prompt,
        cache=cache,
        progress=progress,
    )
