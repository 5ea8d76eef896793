"""Self-attention, with dropout sites on single connections and whole heads.

Shape legend: B batch, T tokens (queries and keys), H heads, D head size, C width, N = B·H.
"""

import torch
from torch import Tensor, nn

from redrop.models.config import TransformerConfig, VisionTransformerConfig
from redrop.models.residual import SubLayer
from redrop.nn import AttentionDropout, DropHead, Dropout, NextMask
from redrop.ops.attention import attention


class Attention(SubLayer):
    """Multi-head self-attention.

    weights = softmax(q·kᵀ / √D), out = W · (dropout(weights) · v), then dropout on what goes back
    to the residual stream.

    Args:
        config: Of the whole network.
        is_causal: Each token sees itself and its past only; otherwise all see all.

    Sites:
        `weights` drops connections, `residual` drops channels of the output; `drop_head`, which is
        there only where its rate is positive, drops what whole heads give.
    """

    def __init__(
        self, config: TransformerConfig | VisionTransformerConfig, *, is_causal: bool = True
    ) -> None:
        super().__init__()
        self.heads, self.is_causal = config.heads, is_causal
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.output = nn.Linear(config.width, config.width)
        self.weights = AttentionDropout(config.dropout.attention_weights)
        drop_head = config.dropout.drop_head
        self.drop_head = DropHead(drop_head) if drop_head > 0 else nn.Identity()
        self.residual = Dropout(config.dropout.attention_residual)

    def branch(self, x_BTC: Tensor) -> Tensor:
        """Mix each token with what it sees."""
        q_BHTD, k_BHTD, v_BHTD = self._split_heads(x_BTC)
        mixed_BHTD = attend(q_BHTD, k_BHTD, v_BHTD, self.weights, is_causal=self.is_causal)
        mixed_BTC = self.drop_head(mixed_BHTD).transpose(1, 2).flatten(2)
        out_BTC: Tensor = self.output(mixed_BTC)
        return out_BTC

    def weights_before_and_after(self, x_BTC: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights (B, H, T, T) after the softmax, and what the site makes of them."""
        q_BHTD, k_BHTD, _ = self._split_heads(x_BTC)
        before_BHTT = softmax_weights(q_BHTD, k_BHTD, is_causal=self.is_causal)
        return before_BHTT, self.weights(before_BHTT)

    def _split_heads(self, x_BTC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        # Unbound before it is transposed: so the gradients are laid side by side in one copy.
        q_BTHD, k_BTHD, v_BTHD = self.qkv(x_BTC).unflatten(2, (3, self.heads, -1)).unbind(2)
        return q_BTHD.transpose(1, 2), k_BTHD.transpose(1, 2), v_BTHD.transpose(1, 2)


def attend(
    q_BHTD: Tensor,
    k_BHTD: Tensor,
    v_BHTD: Tensor,
    site: nn.Module,
    *,
    is_causal: bool = True,
) -> Tensor:
    """Return softmax(q·kᵀ / √D) · v with the site's dropout on the weights.

    The weights are never in memory as a whole: the kernel drops the same connections of the same
    mask that the site, called with the weights, would drop. A module of another kind in the site's
    place, as where rates are learned, is called with them.
    """
    if not isinstance(site, AttentionDropout):
        weights_BHTT = site(softmax_weights(q_BHTD, k_BHTD, is_causal=is_causal))
        return torch.matmul(weights_BHTT, v_BHTD)
    p = site.p if site.training else 0.0
    mask = site.next_mask() if p > 0 else NextMask(0, 0)
    window = mask.window(torch.Size((*q_BHTD.shape[:3], k_BHTD.shape[2])))
    return attention(
        *(q_BHTD, k_BHTD, v_BHTD),
        dropout_p=p,
        is_causal=is_causal,
        mask_key=mask.key,
        window=window,
    )


def causal_weights(q_BHTD: Tensor, k_BHTD: Tensor) -> Tensor:
    """Return softmax(q·kᵀ / √D), each query seeing its own and earlier positions.

    >>> q = torch.zeros(1, 1, 3, 4)
    >>> causal_weights(q, q)[0, 0, 1].tolist()
    [0.5, 0.5, 0.0]
    """
    return softmax_weights(q_BHTD, k_BHTD, is_causal=True)


def softmax_weights(q_BHTD: Tensor, k_BHTD: Tensor, *, is_causal: bool) -> Tensor:
    """Return softmax(q·kᵀ / √D) as a tensor that can be looked at."""
    tokens, head_size = q_BHTD.shape[-2:]
    scores_BHTT = q_BHTD @ k_BHTD.mT * head_size**-0.5
    if is_causal:
        is_future_TT = torch.ones(tokens, tokens, dtype=torch.bool, device=q_BHTD.device).triu(1)
        scores_BHTT = scores_BHTT.masked_fill(is_future_TT, -torch.inf)
    weights_BHTT: Tensor = scores_BHTT.softmax(-1)
    return weights_BHTT
