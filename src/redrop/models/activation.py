"""Activation functions by name."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
}
"""The words that `MLPConfig.activation` takes, and what they mean.

References:
    Hendrycks, Gimpel: Gaussian Error Linear Units, 2016 (GELU and SiLU).
    https://arxiv.org/abs/1606.08415
"""
