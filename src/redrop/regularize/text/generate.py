"""The one engine behind back-translation and paraphrasing: sentences in, sentences out.

Look every sentence up; sort what is missing by length; load the model if anything is; write batch
by batch into the cache. A second call with the same arguments loads no model.
"""

import copy as copies
import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from redrop.regularize.text.generation_cache import GenerationCache, generation_key
from redrop.regularize.text.generation_settings import GenerationSettings, Progress
from redrop.regularize.text.gumbel_noise import GumbelNoise, sentence_seed
from redrop.regularize.text.prose import one_line
from redrop.regularize.text.text_model import TextModel, find_model, load

Entry = tuple[str, str, str]
"""Key, sentence, text."""


def generate_sentences(
    sentences: Sequence[str],
    model: str,
    settings: GenerationSettings,
    *,
    seed: int = 0,
    copy: int = 0,
    prefix: str = "",
    cache: Path | None = None,
    progress: Progress | None = None,
) -> list[str]:
    """Let a text-to-text model write each sentence anew.

    Args:
        sentences: On one line each; equal ones are generated once.
        model: A folder or an id on the hub; see `find_model`.
        settings: Beam search or sampling, and how much.
        seed: Of sampling.
        copy: Another number samples other texts for the same sentences.
        prefix: Put before each sentence, as T5 wants its task named.
        cache: A folder that keeps what was generated.
        progress: Told how many different sentences are done; cached ones are from the start.

    Returns:
        One text per sentence, on one line. A sentence of more tokens than `settings.longest` or
        than the model reads comes back as it is.

    Randomness:
        (seed, copy, prefix, sentence) decide the noise of a sentence; order, batches and
        interruptions do not. Padding may move scores by rounding.

    Raises:
        UsageError: The model cannot be found or loaded, or the cache cannot be used.
    """
    found = find_model(model)
    draw = (seed, copy) if settings.is_sampled else None
    kept = GenerationCache(cache)
    keys = {
        sentence: generation_key(found.identity, settings.identity(), prefix, draw, sentence)
        for sentence in sentences
    }
    missing = [sentence for sentence, key in keys.items() if key not in kept]
    if progress is not None:
        progress(model, len(keys) - len(missing), len(keys))
    if missing:
        writer = _Writer(found, settings, (seed, copy), prefix)
        short, long = writer.part(missing)
        kept.add((keys[sentence], sentence, sentence) for sentence in long)
        done = len(keys) - len(short)
        if progress is not None and long:
            progress(model, done, len(keys))
        for first in range(0, len(short), settings.batch_size):
            batch = short[first : first + settings.batch_size]
            texts = writer.write(batch)
            kept.add(
                (keys[sentence], sentence, text)
                for sentence, text in zip(batch, texts, strict=True)
            )
            done += len(batch)
            if progress is not None:
                progress(model, done, len(keys))
    return [kept[keys[sentence]] for sentence in sentences]


class _Writer:
    """A loaded model with its settings; the memory is free when it is gone."""

    def __init__(
        self, found: TextModel, settings: GenerationSettings, draw: tuple[int, int], prefix: str
    ) -> None:
        self.network, self.tokenizer = load(found)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network.to(self.device)
        self.settings = settings
        self.draw = draw
        self.prefix = prefix
        self.config = _generation_config(self.network, settings)

    def part(self, sentences: Sequence[str]) -> tuple[list[str], list[str]]:
        """Return the sentences that the model can read, longest first, and those that are left.

        Longest first: a batch too large for the memory fails at once and not after hours.
        """
        limit = min(self.settings.longest, self._window())
        lengths = {each: len(self.tokenizer(self.prefix + each)["input_ids"]) for each in sentences}
        readable = [each for each in sentences if lengths[each] <= limit]
        return sorted(readable, key=lambda each: (-lengths[each], each)), [
            each for each in sentences if lengths[each] > limit
        ]

    def write(self, batch: Sequence[str]) -> list[str]:
        """Generate one batch; the global generator of torch does not move."""
        inputs = self.tokenizer(
            [self.prefix + each for each in batch], padding=True, return_tensors="pt"
        )
        transformers: Any = import_module("transformers")
        processors = transformers.LogitsProcessorList()
        if self.settings.is_sampled:
            seeds = [sentence_seed(*self.draw, self.prefix, each) for each in batch]
            processors.append(GumbelNoise(self.settings.temperature, seeds))
        with torch.inference_mode(), torch.random.fork_rng(devices=[]):
            ids = self.network.generate(
                inputs["input_ids"].to(self.device),
                attention_mask=inputs["attention_mask"].to(self.device),
                generation_config=self.config,
                logits_processor=processors,
            )
        texts = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        return [one_line(text) for text in texts]

    def _window(self) -> int:
        """Most tokens that the model reads, as far as it says."""
        said = getattr(self.network.config, "max_position_embeddings", None)
        return int(min(self.tokenizer.model_max_length, said or self.tokenizer.model_max_length))


def _generation_config(network: Any, settings: GenerationSettings) -> Any:
    """Take what the model needs (its special tokens), and our way of choosing words."""
    config = copies.deepcopy(network.generation_config)
    config.num_beams = settings.beams
    positions = getattr(network.config, "max_position_embeddings", None)
    config.max_new_tokens = min(settings.new_tokens, (positions or math.inf) - 1)
    config.max_length = None
    # noise of our own makes the best word a sample: see gumbel_noise.py
    config.do_sample = False
    config.temperature = config.top_k = config.top_p = None
    return config
