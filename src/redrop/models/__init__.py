"""Reference networks with every dropout site in plain sight.

Importing this loads no torch, so the command line can show its help at once: the settings know
none, and `build_model` loads a network's module when it is called. Sampling is in
`redrop.models.generate`.
"""

from redrop.models.build import build_model
from redrop.models.config import (
    MLPConfig,
    ModelConfig,
    TransformerConfig,
    VisionTransformerConfig,
)
from redrop.models.rates import DropoutRates

__all__ = [
    "DropoutRates",
    "MLPConfig",
    "ModelConfig",
    "TransformerConfig",
    "VisionTransformerConfig",
    "build_model",
]
