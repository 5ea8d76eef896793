"""What a reference model is made of; knows no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, Self, TypeVar, get_args

from redrop.errors import UsageError
from redrop.models.rates import DropoutRates

__all__ = [
    "Activation",
    "DropoutRates",
    "Init",
    "MLPConfig",
    "ModelConfig",
    "Norm",
    "NormLayer",
    "TransformerConfig",
    "VisionTransformerConfig",
]

Norm = Literal["pre", "post"]
NormLayer = Literal["layernorm", "rmsnorm", "none"]
Init = Literal["gpt2", "xavier", "kaiming", "torch"]
Activation = Literal["relu", "gelu", "silu", "tanh"]

_Config = TypeVar("_Config")


class ModelConfig(Protocol):
    """What the configs of all networks have in common."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of dropout site that the network has."""
        ...

    @property
    def dropout(self) -> DropoutRates:
        """Rate of each kind of site."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """Shape of a decoder transformer.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        width: Channels of the residual stream.
        layers: Number of blocks.
        heads: Attention heads; they divide the width.
        context: Most tokens the model reads in a row.
        norm: "pre" normalises what goes into a sub-layer, "post" the sum that comes after it;
            where `norm_layer` is "none", both are the same network.
        tie_embeddings: Use the token embedding as the output layer too.
        norm_layer: "layernorm" takes off the mean and divides, "rmsnorm" only divides, "none" does
            nothing anywhere. The size of the signal is then that of the initial weights: "gpt2"
            counts on norms and makes it small, "xavier" keeps it.
        residual: Add each sub-layer to its input; without it the sub-layers are a plain chain.
        init: Rule of the initial weights, see `redrop.models.init`.
        dropout: Rate of each kind of site.

    Raises:
        UsageError: A size is no positive integer, the heads do not divide the width, a word is
            none of those above, or a rate is for a site that is not there.

    References:
        Vaswani et al.: Attention Is All You Need, 2017 (post-norm).
        Xiong et al.: On Layer Normalization in the Transformer Architecture, 2020 (pre-norm).
        https://arxiv.org/abs/2002.04745
        Press, Wolf: Using the Output Embedding to Improve Language Models, 2017 (tying).

    >>> TransformerConfig(vocab_size=65).head_size
    24
    """

    KINDS: ClassVar[tuple[str, ...]] = (
        *DropoutRates.sites(),
        "token_dropout",
        "drop_head",
        "drop_path",
        "layer_drop",
    )

    vocab_size: int
    width: int = 96
    layers: int = 2
    heads: int = 4
    context: int = 64
    norm: Norm = "pre"
    tie_embeddings: bool = False
    norm_layer: NormLayer = "layernorm"
    residual: bool = True
    init: Init = "gpt2"
    dropout: DropoutRates = field(default_factory=DropoutRates)

    def __post_init__(self) -> None:
        _check_sizes(self, "vocab_size", "width", "layers", "heads", "context")
        _check_heads(self.width, self.heads)
        _check_words(self, norm=Norm, norm_layer=NormLayer, init=Init)
        _check_sites(self, self.residual)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of dropout site that the network has."""
        return self.KINDS

    @property
    def head_size(self) -> int:
        """Channels of one attention head."""
        return self.width // self.heads

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the config that `dataclasses.asdict` made into plain JSON values.

        Raises:
            UsageError: A field is unknown or missing, or its value is refused.

        >>> from dataclasses import asdict
        >>> config = TransformerConfig(vocab_size=65, norm="post")
        >>> TransformerConfig.from_json(asdict(config)) == config
        True
        """
        return _from_json(cls, stored)


@dataclass(frozen=True, kw_only=True, slots=True)
class VisionTransformerConfig:
    """Shape of a small vision transformer, which sorts images into classes.

    Args:
        image_size: Height and width of the images, in pixels.
        outputs: Number of classes.
        patch_size: Height and width of a patch; it divides the image size.
        channels: Colours of a pixel: 1 is grey, 3 is RGB.
        width: Channels of the residual stream.
        layers: Number of blocks.
        heads: Attention heads; they divide the width.
        norm: "pre" normalises what goes into a sub-layer, "post" the sum that comes after it;
            where `norm_layer` is "none", both are the same network.
        norm_layer: "layernorm" takes off the mean and divides, "rmsnorm" only divides, "none" does
            nothing anywhere. The size of the signal is then that of the initial weights: "gpt2"
            counts on norms and makes it small, "xavier" keeps it.
        residual: Add each sub-layer to its input; without it the sub-layers are a plain chain.
        init: Rule of the initial weights, see `redrop.models.init`.
        dropout: Rate of each kind of site.

    Raises:
        UsageError: A size is no positive integer or does not divide what it has to, a word is none
            of those above, or a rate is for a site that is not there.

    References:
        Dosovitskiy et al.: An Image is Worth 16x16 Words, 2021. https://arxiv.org/abs/2010.11929

    >>> VisionTransformerConfig(image_size=8, outputs=10, patch_size=2).patches
    16
    """

    KINDS: ClassVar[tuple[str, ...]] = TransformerConfig.KINDS

    image_size: int
    outputs: int
    patch_size: int = 2
    channels: int = 1
    width: int = 64
    layers: int = 2
    heads: int = 4
    norm: Norm = "pre"
    norm_layer: NormLayer = "layernorm"
    residual: bool = True
    init: Init = "gpt2"
    dropout: DropoutRates = field(default_factory=DropoutRates)

    def __post_init__(self) -> None:
        _check_sizes(
            *(self, "image_size", "outputs", "patch_size", "channels", "width", "layers", "heads")
        )
        _check_heads(self.width, self.heads)
        if self.image_size % self.patch_size:
            raise UsageError(
                f"`patch_size` must divide `image_size`; got patches of {self.patch_size} and "
                f"images of {self.image_size}. Pad or resize the images."
            )
        _check_words(self, norm=Norm, norm_layer=NormLayer, init=Init)
        _check_sites(self, self.residual)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of dropout site that the network has."""
        return self.KINDS

    @property
    def patches(self) -> int:
        """Patches, which are the tokens, of one image."""
        side: int = self.image_size // self.patch_size
        return side * side

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the config that `dataclasses.asdict` made into plain JSON values.

        Raises:
            UsageError: A field is unknown or missing, or its value is refused.
        """
        return _from_json(cls, stored)


@dataclass(frozen=True, kw_only=True, slots=True)
class MLPConfig:
    """Shape of a network for vectors, in the old or the modern manner.

    Args:
        features: Numbers in an input vector.
        outputs: Numbers in an output vector: classes, or values.
        network: "old" is dense, dropout, activation, dropout, dense; "modern" has blocks of norm,
            feed-forward and residual addition.
        width: Of the hidden layers; in the modern network, of the residual stream.
        layers: Hidden dense layers of the old network, blocks of the modern one.
        activation: "relu", "gelu", "silu" or "tanh".
        norm_layer: "layernorm", "rmsnorm" or "none"; the old network has none whatever it says.
        residual: Add each block to its input; modern only.
        init: Rule of the initial weights, see `redrop.models.init`.
        dropout: Rate of each kind of site. The old network as it is often drawn has
            `DropoutRates(pre_activation=0.5, feed_forward_hidden=0.3)`.

    Raises:
        UsageError: A size is no positive integer, a word is none of those above, or a setting or
            rate is for what the network does not have.

    >>> MLPConfig(features=4, outputs=3, network="old").kinds
    ('pre_activation', 'feed_forward_hidden')
    """

    KINDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "old": ("pre_activation", "feed_forward_hidden"),
        "modern": ("feed_forward_hidden", "feed_forward_residual", "drop_path", "layer_drop"),
    }

    features: int
    outputs: int
    network: Literal["old", "modern"] = "modern"
    width: int = 64
    layers: int = 2
    activation: Activation = "gelu"
    norm_layer: NormLayer = "layernorm"
    residual: bool = True
    init: Init = "kaiming"
    dropout: DropoutRates = field(default_factory=DropoutRates)

    def __post_init__(self) -> None:
        _check_sizes(self, "features", "outputs", "width", "layers")
        _check_words(
            self,
            network=Literal["old", "modern"],
            activation=Activation,
            norm_layer=NormLayer,
            init=Init,
        )
        if self.network == "old" and (self.norm_layer == "rmsnorm" or not self.residual):
            raise UsageError(
                "The old network has neither norm nor residual connection; got `norm_layer` "
                f"{self.norm_layer!r} and `residual` {self.residual}. Leave both out."
            )
        _check_sites(self, self.residual)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of dropout site that the network has."""
        return self.KINDS[self.network]

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Self:
        """Return the config that `dataclasses.asdict` made into plain JSON values.

        Raises:
            UsageError: A field is unknown or missing, or its value is refused.
        """
        return _from_json(cls, stored)


def _from_json(cls: type[_Config], stored: Mapping[str, Any]) -> _Config:
    try:
        return cls(**{**stored, "dropout": DropoutRates(**stored["dropout"])})
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"A stored model config must have the fields of {cls.__name__}; {error}. "
            "Was it written by another version?"
        ) from error


def _check_sizes(config: object, *names: str) -> None:
    for name in names:
        size = getattr(config, name)
        if not isinstance(size, int) or size < 1:
            raise UsageError(f"`{name}` must be a positive integer; got {size!r}.")


def _check_heads(width: int, heads: int) -> None:
    if width % heads:
        raise UsageError(
            f"`heads` must divide `width`; got {heads} heads and width {width}. "
            f"Pass a width of {-(-width // heads) * heads}."
        )


def _check_words(config: object, **allowed: Any) -> None:
    for name, choice in allowed.items():
        *first, last = (f'"{word}"' for word in get_args(choice))
        if getattr(config, name) not in get_args(choice):
            raise UsageError(
                f"`{name}` must be {', '.join(first)} or {last}; got {getattr(config, name)!r}."
            )


def _check_sites(config: ModelConfig, residual: bool) -> None:
    if not isinstance(residual, bool):
        raise UsageError(f"`residual` must be True or False; got {residual!r}.")
    absent = [kind for kind in config.dropout.active if kind not in config.kinds]
    if absent:
        raise UsageError(
            f"A rate must be for a site that the network has; got `{'`, `'.join(absent)}`. It has "
            f"{', '.join(config.kinds)}."
        )
    if config.dropout.drop_path > 0 and not residual:
        raise UsageError(
            f"`drop_path` needs residual connections: without them a dropped branch leaves "
            f"nothing of the sample; got {config.dropout.drop_path} and `residual` False."
        )
