"""From the settings of a network to the network; loads torch only when it builds one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from redrop.errors import UsageError
from redrop.models.config import (
    MLPConfig,
    ModelConfig,
    TransformerConfig,
    VisionTransformerConfig,
)

if TYPE_CHECKING:
    from torch import nn


def build_model(config: ModelConfig, *, seed: int = 0) -> nn.Module:
    """Return the network that a config describes.

    Args:
        config: One of the configs of `redrop.models`.
        seed: Of the initial weights; torch's default generator is left as it was.

    Raises:
        UsageError: The config is none of them.

    >>> from redrop.models import MLPConfig
    >>> type(build_model(MLPConfig(features=4, outputs=3, network="old"))).__name__
    'OldMLP'
    """
    if isinstance(config, TransformerConfig):
        from redrop.models.transformer import Transformer

        return Transformer(config, seed=seed)
    if isinstance(config, VisionTransformerConfig):
        from redrop.models.vision_transformer import VisionTransformer

        return VisionTransformer(config, seed=seed)
    if isinstance(config, MLPConfig):
        from redrop.models.mlp import ModernMLP, OldMLP

        network = OldMLP if config.network == "old" else ModernMLP
        return network(config, seed=seed)
    raise UsageError(
        "A network is built from TransformerConfig, VisionTransformerConfig or MLPConfig; got "
        f"{type(config).__name__}."
    )
