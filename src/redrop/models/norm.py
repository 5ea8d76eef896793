"""Normalisation layers by name."""

from torch import nn

from redrop.models.config import NormLayer

EPSILON = 1e-5
"""`torch.nn.LayerNorm`'s; `torch.nn.RMSNorm` would take the smallest that its dtype tells from 0,
which for float32 is a hundredth of it."""


def norm_layer(name: NormLayer, width: int) -> nn.Module:
    """Return a layer that normalises the last dimension, of size `width`.

    "layernorm": (x − mean) / √(variance + ε) · gain + bias;  "rmsnorm": x / √(mean of x² + ε) ·
    gain;  "none": x, without parameters.

    References:
        Ba, Kiros, Hinton: Layer Normalization, 2016. https://arxiv.org/abs/1607.06450
        Zhang, Sennrich: Root Mean Square Layer Normalization, 2019.
        https://arxiv.org/abs/1910.07467

    >>> norm_layer("rmsnorm", 4)
    RMSNorm((4,), eps=1e-05, elementwise_affine=True)
    >>> norm_layer("none", 4)
    Identity()
    """
    if name == "none":
        return nn.Identity()
    layers = {"layernorm": nn.LayerNorm, "rmsnorm": nn.RMSNorm}
    layer: nn.Module = layers[name](width, eps=EPSILON)
    return layer
