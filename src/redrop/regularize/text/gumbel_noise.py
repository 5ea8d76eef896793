"""Sampling that belongs to the sentence: the same in any batch, after any interruption.

The largest of scores with independent Gumbel noise added is a sample from their softmax:

    argmax_w (s_w / T + g_w),  g_w = −log e_w, e_w ~ Exp(1)   has   P(w) = softmax(s / T)_w.

Each row of a batch has a generator of its own, seeded from (seed, sentence); a model's usual
sampling takes one generator for the whole batch, so that a sentence's text would depend on its
neighbours and on how often the run was killed.

References:
    Maddison, Tarlow, Minka: A* Sampling. NeurIPS 2014. https://arxiv.org/abs/1411.0030
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor


class GumbelNoise:
    """A logits processor for a decoding that takes the best word each time.

    Args:
        temperature: T, above 0.
        seeds: One per row of the batch.
    """

    def __init__(self, temperature: float, seeds: Sequence[int]) -> None:
        self.temperature = temperature
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, _input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the scores (batch, vocabulary) with noise; one that is −inf stays −inf."""
        noise = torch.stack([_gumbel(scores.shape[-1], each) for each in self._generators])
        noisy: Tensor = scores.float() / self.temperature + noise.to(scores.device)
        return noisy


def _gumbel(size: int, generator: torch.Generator) -> Tensor:
    draws = torch.empty(size).exponential_(generator=generator)
    # an infinite noise would make NaN of a score of −inf, and NaN is the largest of all
    return -draws.clamp_(min=torch.finfo(draws.dtype).tiny).log()


def sentence_seed(*parts: object) -> int:
    """Return 64 bits that belong to these parts, such as seed, copy, prompt and sentence.

    >>> sentence_seed(0, "a sentence") == sentence_seed(1, "a sentence")
    False
    """
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big")
