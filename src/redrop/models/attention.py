"""Causal self-attention, with a dropout site on single connections.

Shape legend: B batch, T tokens (queries and keys), H heads, D head size, C width, N = B·H.
"""

import torch
from torch import Tensor, nn

from redrop.models.config import TransformerConfig
from redrop.nn import AttentionDropout, Dropout, NextMask
from redrop.ops.attention import attention


class Attention(nn.Module):
    """Multi-head causal self-attention.

    weights = softmax(q·kᵀ / √D) over the past, out = W · (dropout(weights) · v), then dropout on
    what goes back to the residual stream.

    Sites:
        `weights` drops connections, `residual` drops channels of the output.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.weights = AttentionDropout(config.dropout.attention_weights)
        self.residual = Dropout(config.dropout.attention_residual)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Mix each token with its past."""
        q_BHTD, k_BHTD, v_BHTD = self._split_heads(x_BTC)
        mixed_BHTD = attend(q_BHTD, k_BHTD, v_BHTD, self.weights)
        out_BTC: Tensor = self.residual(self.output(mixed_BHTD.transpose(1, 2).flatten(2)))
        return out_BTC

    def weights_before_and_after(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (B, H, T, T) after the softmax, and what the site makes of them."""
        q_BHTD, k_BHTD, _ = self._split_heads(x_BTC)
        before_BHTT = causal_weights(q_BHTD, k_BHTD)
        return before_BHTT, self.weights(before_BHTT)

    def _split_heads(self, x_BTC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        qkv_BTHD = self.qkv(x_BTC).unflatten(2, (3, self.heads, -1))
        q_BHTD, k_BHTD, v_BHTD = qkv_BTHD.permute(2, 0, 3, 1, 4).unbind(0)
        return q_BHTD, k_BHTD, v_BHTD


def attend(q_BHTD: Tensor, k_BHTD: Tensor, v_BHTD: Tensor, site: AttentionDropout) -> Tensor:
    """Return softmax(q·kᵀ / √D) · v over the past, with the site's dropout on the weights.

    The weights are never in memory as a whole: the kernel drops the same connections of the same
    mask that the site, called with the weights, would drop.
    """
    p = site.p if site.training else 0.0
    mask = site.next_mask() if p > 0 else NextMask(0, 0)
    window = mask.window(torch.Size((*q_BHTD.shape[:3], k_BHTD.shape[2])))
    return attention(
        *(q_BHTD, k_BHTD, v_BHTD),
        dropout_p=p,
        is_causal=True,
        mask_key=mask.key,
        window=window,
    )


def causal_weights(q_BHTD: Tensor, k_BHTD: Tensor) -> Tensor:
    """Return softmax(q·kᵀ / √D), each query seeing its own and earlier positions: to be looked at.

    >>> q = torch.zeros(1, 1, 3, 4)
    >>> causal_weights(q, q)[0, 0, 1].tolist()
    [0.5, 0.5, 0.0]
    """
    tokens, head_size = q_BHTD.shape[-2:]
    is_future_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=q_BHTD.device).triu(1)
    scores_BHTT = q_BHTD @ k_BHTD.mT * head_size**-0.5
    weights_BHTT: Tensor = scores_BHTT.masked_fill(is_future_TT, -torch.inf).softmax(-1)
    return weights_BHTT
