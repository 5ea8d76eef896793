"""Each network once, small enough to look at, with an input for it."""

from dataclasses import replace

import torch

from redrop.models import MLPConfig, TransformerConfig, VisionTransformerConfig, build_model
from redrop.models.rates import DropoutRates

NETWORKS = {
    "decoder": TransformerConfig(vocab_size=13, width=12, layers=2, heads=3, context=9),
    "decoder-post": TransformerConfig(
        vocab_size=13, width=12, layers=2, heads=3, context=9, norm="post", norm_layer="rmsnorm"
    ),
    "vision": VisionTransformerConfig(
        image_size=6, outputs=5, patch_size=2, channels=2, width=12, layers=2, heads=3
    ),
    "old": MLPConfig(features=7, outputs=4, network="old", width=12, layers=2, activation="relu"),
    "modern": MLPConfig(features=7, outputs=4, width=12, layers=2),
}


def configured(name, **changes):
    """The config of a network with some of its fields, or its dropout rates, changed."""
    rates = {kind: changes.pop(kind) for kind in DropoutRates.kinds() if kind in changes}
    return replace(NETWORKS[name], dropout=DropoutRates(**rates), **changes)


def built(name, seed=0, **changes):
    """A network whose weights are large enough to matter, gains and biases too."""
    model = build_model(configured(name, **changes), seed=seed)
    generator = torch.Generator().manual_seed(seed + 1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return model


def inputs(name, batch=3, seed=5):
    generator = torch.Generator().manual_seed(seed)
    if name.startswith("decoder"):
        return torch.randint(13, (batch, 9), generator=generator)
    shape = (batch, 2, 6, 6) if name == "vision" else (batch, 7)
    return torch.randn(shape, generator=generator)
