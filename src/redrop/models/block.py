"""The block of a transformer, of text and of images alike.

Shape legend: B batch, T tokens, C width.
"""

from typing import cast

from torch import Tensor, nn

from redrop.models.attention import Attention
from redrop.models.config import TransformerConfig, VisionTransformerConfig
from redrop.models.feed_forward import FeedForward
from redrop.models.norm import norm_layer
from redrop.models.residual import add_sub_layer, drop_path_site
from redrop.models.skip import Skip
from redrop.nn import TokenDropout, drop_path_rates


class Block(nn.Module):
    """Attention, then feed-forward, each with its residual connection.

    pre-norm:  x = x + f(norm(x));  post-norm:  x = norm(x + f(x));  norm layer "none":
    x = x + f(x).

    Args:
        config: Of the whole network.
        drop_path: Rate of stochastic depth of this block.
        is_causal: Each token sees itself and its past only; otherwise all see all.

    Sites:
        Those of `attention` and `feed_forward`; `attention_drop_path` and `feed_forward_drop_path`
        drop the branches of single samples, `layer_drop` skips the block. The last three are there
        only where their rates are positive.
    """

    def __init__(
        self,
        config: TransformerConfig | VisionTransformerConfig,
        *,
        drop_path: float,
        is_causal: bool,
    ) -> None:
        super().__init__()
        self.norm, self.has_residual = config.norm, config.residual
        self.attention_norm = norm_layer(config.norm_layer, config.width)
        self.attention = Attention(config, is_causal=is_causal)
        self.attention_drop_path = drop_path_site(drop_path)
        self.feed_forward_norm = norm_layer(config.norm_layer, config.width)
        self.feed_forward = FeedForward(config.width, config.dropout)
        self.feed_forward_drop_path = drop_path_site(drop_path)
        self.layer_drop = Skip(config.dropout.layer_drop) if config.dropout.layer_drop else None

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Let attention, then feed-forward, add to the residual stream."""
        if self.layer_drop is None:
            return self._run(x_BTC)
        return cast(Tensor, self.layer_drop(self._run, x_BTC))

    def attention_input(self, x_BTC: Tensor) -> Tensor:
        """Return what attention reads of the residual stream."""
        return cast(Tensor, self.attention_norm(x_BTC)) if self.norm == "pre" else x_BTC

    def _run(self, x_BTC: Tensor) -> Tensor:
        for layer, norm, path in (
            (self.attention, self.attention_norm, self.attention_drop_path),
            (self.feed_forward, self.feed_forward_norm, self.feed_forward_drop_path),
        ):
            x_BTC = add_sub_layer(
                *(x_BTC, layer, norm, path), where=self.norm, has_residual=self.has_residual
            )
        return x_BTC


def stack(config: TransformerConfig | VisionTransformerConfig, *, is_causal: bool) -> nn.ModuleList:
    """Return the blocks of a network, stochastic depth growing linearly with theirs."""
    rates = drop_path_rates(config.dropout.drop_path, config.layers)
    return nn.ModuleList(Block(config, drop_path=p, is_causal=is_causal) for p in rates)


def final_norm(config: TransformerConfig | VisionTransformerConfig) -> nn.Module:
    """Return the norm behind the last block: post-norm blocks end in one, if there is any."""
    if config.norm == "post":
        return nn.Identity()
    return norm_layer(config.norm_layer, config.width)


def token_dropout_site(p: float) -> nn.Module:
    """Return the site that drops whole tokens, or where none is dropped the identity."""
    return TokenDropout(p) if p > 0 else nn.Identity()
