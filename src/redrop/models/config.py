"""What a reference model is made of; knows no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from redrop.errors import UsageError
from redrop.mask.threshold import threshold


@dataclass(frozen=True, kw_only=True, slots=True)
class DropoutRates:
    """Probability of dropping at each kind of site; every block has the same rates.

    Args:
        embedding: Sum of token and position embedding, before the first block.
        attention_weights: Single connections, after the softmax.
        attention_residual: Output of attention, before it is added to the residual stream.
        feed_forward_hidden: Inside the feed-forward block, after the activation function.
        feed_forward_residual: Output of the feed-forward block, before it is added.

    Raises:
        UsageError: A rate is NaN or outside [0, 1].

    >>> DropoutRates(attention_weights=0.1).active
    ('attention_weights',)
    """

    embedding: float = 0.0
    attention_weights: float = 0.0
    attention_residual: float = 0.0
    feed_forward_hidden: float = 0.0
    feed_forward_residual: float = 0.0

    def __post_init__(self) -> None:
        for name in self.sites():
            try:
                threshold(getattr(self, name))
            except UsageError as error:
                raise UsageError(f"Dropout rate `{name}`: {error}") from error

    @classmethod
    def everywhere(cls, p: float) -> Self:
        """Return the same rate at all sites.

        >>> DropoutRates.everywhere(0.2).embedding
        0.2
        """
        return cls(**dict.fromkeys(cls.sites(), p))

    @classmethod
    def sites(cls) -> tuple[str, ...]:
        """Return the kinds of site, in the order in which a forward pass meets them."""
        return tuple(site.name for site in fields(cls))

    @property
    def active(self) -> tuple[str, ...]:
        """The kinds of site that drop anything."""
        return tuple(name for name in self.sites() if getattr(self, name) > 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class TransformerConfig:
    """Shape of a decoder transformer.

    Args:
        vocab_size: Number of tokens in the vocabulary.
        width: Channels of the residual stream.
        layers: Number of blocks.
        heads: Attention heads; they divide the width.
        context: Most tokens the model reads in a row.
        norm: "pre" normalises what goes into a sub-layer, "post" the sum that comes after it.
        tie_embeddings: Use the token embedding as the output layer too.
        dropout: Rate of each kind of site.

    Raises:
        UsageError: A size is no positive integer, the heads do not divide the width, or `norm` is
            another word.

    References:
        Vaswani et al.: Attention Is All You Need, 2017 (post-norm).
        Xiong et al.: On Layer Normalization in the Transformer Architecture, 2020 (pre-norm).
        https://arxiv.org/abs/2002.04745
        Press, Wolf: Using the Output Embedding to Improve Language Models, 2017 (tying).

    >>> TransformerConfig(vocab_size=65).head_size
    24
    """

    vocab_size: int
    width: int = 96
    layers: int = 2
    heads: int = 4
    context: int = 64
    norm: Literal["pre", "post"] = "pre"
    tie_embeddings: bool = False
    dropout: DropoutRates = field(default_factory=DropoutRates)

    def __post_init__(self) -> None:
        for name in ("vocab_size", "width", "layers", "heads", "context"):
            size = getattr(self, name)
            if not isinstance(size, int) or size < 1:
                raise UsageError(f"`{name}` must be a positive integer; got {size!r}.")
        if self.width % self.heads:
            raise UsageError(
                f"`heads` must divide `width`; got {self.heads} heads and width {self.width}. "
                f"Pass a width of {-(-self.width // self.heads) * self.heads}."
            )
        if self.norm not in ("pre", "post"):
            raise UsageError(f'`norm` must be "pre" or "post"; got {self.norm!r}.')

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
        try:
            return cls(**{**stored, "dropout": DropoutRates(**stored["dropout"])})
        except (KeyError, TypeError) as error:
            raise UsageError(
                f"A stored model config must have the fields of TransformerConfig; {error}. "
                "Was it written by another version?"
            ) from error
