"""A transformer small enough to look at."""

import torch

from redrop.models.config import TransformerConfig
from redrop.models.transformer import Transformer

VOCAB = 13


def tiny(seed=0, **changes):
    settings = {"vocab_size": VOCAB, "width": 12, "layers": 2, "heads": 3, "context": 9, **changes}
    return Transformer(TransformerConfig(**settings), seed=seed)


def shaken(seed=0, **changes):
    """The same with weights large enough to matter, gains and biases too."""
    model = tiny(seed, **changes)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def tokens(batch=2, length=9, seed=5):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (batch, length), generator=generator)
