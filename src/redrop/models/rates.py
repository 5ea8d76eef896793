"""How much is dropped at each kind of site; knows no torch."""

from dataclasses import dataclass, fields
from typing import Self

from redrop.errors import UsageError
from redrop.mask.threshold import threshold

ELEMENTWISE = (
    "embedding",
    "attention_weights",
    "attention_residual",
    "feed_forward_hidden",
    "feed_forward_residual",
)
"""The kinds that drop single elements, in the order in which a forward pass meets them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DropoutRates:
    """Probability of dropping at each kind of site; every block has the same rates.

    The first five drop single elements and are the `sites()` of a transformer; the others drop
    something larger, or stand in one network only. Which kinds a network has, its config says.

    Args:
        embedding: Sum of token and position embedding, before the first block.
        attention_weights: Single connections, after the softmax.
        attention_residual: Output of attention, before it is added to the residual stream.
        feed_forward_hidden: Inside the feed-forward block, after the activation function.
        feed_forward_residual: Output of the feed-forward block, before it is added.
        pre_activation: Before the activation function, in the old network only.
        token_dropout: Whole token or patch embeddings; the position is still told.
        drop_head: Whole attention heads.
        drop_path: Residual branches of single samples. The rate is that of the last block; it
            grows linearly with depth.
        layer_drop: Whole blocks, for all samples at once.

    Raises:
        UsageError: A rate is NaN or outside [0, 1].

    >>> DropoutRates(attention_weights=0.1, drop_path=0.2).active
    ('attention_weights', 'drop_path')
    """

    embedding: float = 0.0
    attention_weights: float = 0.0
    attention_residual: float = 0.0
    feed_forward_hidden: float = 0.0
    feed_forward_residual: float = 0.0
    pre_activation: float = 0.0
    token_dropout: float = 0.0
    drop_head: float = 0.0
    drop_path: float = 0.0
    layer_drop: float = 0.0

    def __post_init__(self) -> None:
        for name in self.kinds():
            try:
                threshold(getattr(self, name))
            except UsageError as error:
                raise UsageError(f"Dropout rate `{name}`: {error}") from error

    @classmethod
    def everywhere(cls, p: float) -> Self:
        """Return the same rate at all five elementwise sites of a transformer.

        >>> DropoutRates.everywhere(0.2).embedding
        0.2
        """
        return cls(**dict.fromkeys(cls.sites(), p))

    @classmethod
    def sites(cls) -> tuple[str, ...]:
        """Return the elementwise kinds, in the order in which a forward pass meets them."""
        return ELEMENTWISE

    @classmethod
    def kinds(cls) -> tuple[str, ...]:
        """Return every kind of site that some network has."""
        return tuple(kind.name for kind in fields(cls))

    @property
    def active(self) -> tuple[str, ...]:
        """The kinds of site that drop anything."""
        return tuple(name for name in self.kinds() if getattr(self, name) > 0)
