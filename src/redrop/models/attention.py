"""Causal self-attention, with a dropout site on single connections.

Shape legend: B batch, T tokens (queries and keys), H heads, D head size, C width, N = B·H.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from redrop.models.config import TransformerConfig
from redrop.nn import AttentionDropout, Dropout


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
    """Return softmax(q·kᵀ / √D) · v over the past, with the site's dropout on the weights."""
    is_dropping = site.training and site.p > 0
    # PyTorch's fused kernel keeps no weights and is as fast in float32 as the plain products; in
    # bfloat16 its forward and backward take 3 to 10 times as long (torch 2.13, AVX-512, T = 64-256).
    if not is_dropping and q_BHTD.dtype == torch.float32:
        return F.scaled_dot_product_attention(q_BHTD, k_BHTD, v_BHTD, is_causal=True)
    weights_BHTT: Tensor = site(causal_weights(q_BHTD, k_BHTD))
    return weights_BHTT @ v_BHTD


def causal_weights(q_BHTD: Tensor, k_BHTD: Tensor) -> Tensor:
    """Return softmax(q·kᵀ / √D), each query seeing its own and earlier positions.

    >>> q = torch.zeros(1, 1, 3, 4)
    >>> causal_weights(q, q)[0, 0, 1].tolist()
    [0.5, 0.5, 0.0]
    """
    tokens, head_size = q_BHTD.shape[-2:]
    future_TT = torch.full((tokens, tokens), -torch.inf, dtype=q_BHTD.dtype, device=q_BHTD.device)
    # One product adds the mask and scales: no extra pass over the scores.
    scores_NTT = torch.baddbmm(
        future_TT.triu_(1), q_BHTD.flatten(0, 1), k_BHTD.flatten(0, 1).mT, alpha=head_size**-0.5
    )
    weights_NTT: Tensor = scores_NTT.softmax(-1)
    return weights_NTT.view(*q_BHTD.shape[:2], tokens, tokens)
