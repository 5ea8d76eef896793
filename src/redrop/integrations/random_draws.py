"""Dropout that somebody wrote by hand: it draws random numbers, and nobody can replay them."""

from collections.abc import Callable
from typing import Any, Final

import torch

DRAWS: Final[frozenset[Callable[..., Any]]] = frozenset(
    {
        *(torch.bernoulli, torch.rand, torch.rand_like),
        *(torch.native_dropout, torch.feature_dropout, torch.feature_dropout_),
        *(torch.Tensor.bernoulli, torch.Tensor.bernoulli_, torch.Tensor.uniform_),
    }
)
"""Functions that draw from torch's generator as dropout does; normal noise is not among them."""
