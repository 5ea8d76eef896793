"""Multi-head attention whose dropout is a site: the drop-in for `torch.nn.MultiheadAttention`.

Shape legend: B batch, T query tokens, S key tokens, H heads, D head size, C width.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.threshold import threshold
from redrop.nn.attend import attend
from redrop.nn.masked_out import may_attend
from redrop.nn.module import SiteModule
from redrop.nn.site import NextMask
from redrop.ops.attention_weights import attention_with_weights

Heads = tuple[Tensor, Tensor, Tensor]
"""Query (B, H, T, D), key and value (B, H, S, D)."""


class MultiheadAttention(SiteModule, torch.nn.MultiheadAttention):
    """Multi-head attention; arguments, results and state dict are those of PyTorch's layer.

    out = W · concat_h(dropout(softmax(q_h · k_hᵀ / √D + masks)) · v_h), with q, k and v linear in
    query, key and value. In eval mode it *is* PyTorch's layer, its fast path included. In training
    mode attention is one fused call, whatever p, unless `need_weights` asks for the weights, which
    is PyTorch's default and costs what it costs there: pass `need_weights=False`.

    A boolean mask is True where a connection is *masked out*, the opposite of
    `scaled_dot_product_attention`. A query that may see nothing gives zeros in training mode, also
    with `need_weights`, where PyTorch's layer gives NaN.

    Args:
        embed_dim: Width C of queries and output.
        num_heads: Must divide `embed_dim`.
        dropout: Probability that a single connection (query, key) of a head is dropped.
        bias: Learn a bias in the projections.
        add_bias_kv: Append one learned key and value to those of every sample.
        add_zero_attn: Append one key and value of zeros.
        kdim: Width of keys; by default `embed_dim`.
        vdim: Width of values; by default `embed_dim`.
        batch_first: Take and give (B, T, C) instead of (T, B, C).
        device: Where the parameters live.
        dtype: Of the parameters.

    Shape:
        Query (T, B, C), key (S, B, kdim), value (S, B, vdim), output (T, B, C); (B, T, C) and so on
        with `batch_first`; (T, C) and so on without a batch. Weights (B, T, S), or (B, H, T, S)
        with `average_attn_weights=False`; S counts appended keys.

    Randomness:
        The layer is one site, by its qualified name; the mask is that of the weights (B, H, T, S),
        whatever `batch_first`, an unbatched input being a batch of 1. Otherwise as for `Dropout`.

    Raises:
        UsageError: `dropout` is NaN or outside [0, 1]; in training mode, inputs that do not fit.

    References:
        Vaswani et al.: Attention Is All You Need, 2017. https://arxiv.org/abs/1706.03762

    >>> layer = MultiheadAttention(embed_dim=8, num_heads=2, dropout=0.1, batch_first=True)
    >>> x = torch.ones(3, 5, 8)
    >>> out, weights = layer(x, x, x, need_weights=False)
    >>> out.shape, weights
    (torch.Size([3, 5, 8]), None)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        threshold(dropout)
        super().__init__(
            *(embed_dim, num_heads, dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim),
            *(batch_first, device, dtype),
        )

    @property
    def p(self) -> float:
        """The attribute `dropout`, under the name that every site has for it."""
        p: float = self.dropout
        return p

    @p.setter
    def p(self, p: float) -> None:
        self.dropout = p

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from queries to keys.

        Args:
            query: See the class for shapes.
            key: As long as `value`.
            value: As long as `key`.
            key_padding_mask: (B, S); True = nobody sees this key. Or floating, added to the scores.
            need_weights: Return the weights too, as they are used: in training mode *after*
                dropout, as PyTorch does, so that rows do not sum to 1.
            attn_mask: (T, S) or (B·H, T, S); True = masked out. Or floating, added to the scores.
            average_attn_weights: Return the mean of the weights over heads.
            is_causal: A hint that `attn_mask`, which must be there, is the causal mask. With a hint
                alone (no padding, no weights wanted) the mask itself is not looked at.

        Returns:
            The output, and the weights or None.
        """
        if not self.training:
            result: tuple[Tensor, Tensor | None] = super().forward(
                *(query, key, value, key_padding_mask, need_weights, attn_mask),
                *(average_attn_weights, is_causal),
            )
            return result
        self._check_inputs(query, key, value, needs_mask=is_causal and attn_mask is None)
        is_batched = query.dim() == 3
        heads = self._heads(query, key, value)
        takes_hint = is_causal and key_padding_mask is None and not need_weights
        mask = None if takes_hint else self._mask(attn_mask, key_padding_mask, heads)
        out_BHTD, weights_BHTS = self._attend(heads, mask, takes_hint, need_weights)
        out = self._join(out_BHTD, is_batched)
        if weights_BHTS is None:
            return out, None
        weights = weights_BHTS.mean(dim=1) if average_attn_weights else weights_BHTS
        return out, weights if is_batched else weights.squeeze(0)

    def _check_inputs(self, query: Tensor, key: Tensor, value: Tensor, *, needs_mask: bool) -> None:
        if needs_mask:
            raise UsageError(
                "`is_causal` is a hint about `attn_mask`, as in torch; got the hint and no mask. "
                "Pass torch.nn.Transformer.generate_square_subsequent_mask(T) as `attn_mask`."
            )
        if query.is_nested or key.is_nested or value.is_nested:
            raise UsageError(
                "In training mode inputs must be dense, as in torch; got a nested tensor. Pad it, "
                "and pass `key_padding_mask`."
            )
        shapes = [tuple(x.shape) for x in (query, key, value)]
        is_sound = (
            query.dim() == key.dim() == value.dim()
            and query.dim() in (2, 3)
            and key.shape[:-1] == value.shape[:-1]
            and [shape[-1] for shape in shapes] == [self.embed_dim, self.kdim, self.vdim]
        )
        batch = 0 if self.batch_first else 1
        if not is_sound or (query.dim() == 3 and query.shape[batch] != key.shape[batch]):
            order = "batch, tokens" if self.batch_first else "tokens, batch"
            raise UsageError(
                f"Query, key and value must be ({order}, width) or (tokens, width), with widths "
                f"{self.embed_dim}, {self.kdim} and {self.vdim}, key and value of one length; got "
                f"{shapes[0]}, {shapes[1]} and {shapes[2]}. Check `batch_first`."
            )

    def _heads(self, query: Tensor, key: Tensor, value: Tensor) -> Heads:
        """Project, split into heads, and append what the layer appends to keys and values."""
        q_BHTD, k_BHSD, v_BHSD = map(self._split, self._project(query, key, value))
        size = (k_BHSD.shape[0], self.num_heads, 1, self.head_dim)
        if self.bias_k is not None and self.bias_v is not None:
            single = (1, self.num_heads, 1, self.head_dim)
            k_BHSD = torch.cat([k_BHSD, self.bias_k.view(single).expand(size)], dim=2)
            v_BHSD = torch.cat([v_BHSD, self.bias_v.view(single).expand(size)], dim=2)
        if self.add_zero_attn:
            k_BHSD = torch.cat([k_BHSD, k_BHSD.new_zeros(size)], dim=2)
            v_BHSD = torch.cat([v_BHSD, v_BHSD.new_zeros(size)], dim=2)
        return q_BHTD, k_BHSD, v_BHSD

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Apply the three linear maps, as one product where inputs are the same tensor."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        if weight is not None and query is key and key is value:
            return F.linear(query, weight, bias).chunk(3, dim=-1)
        separate = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        weights: tuple[Tensor, ...] = separate if weight is None else weight.chunk(3)
        biases = (None, None, None) if bias is None else bias.chunk(3)
        return tuple(map(F.linear, (query, key, value), weights, biases))

    def _split(self, x: Tensor) -> Tensor:
        """Return (B, H, tokens, D), a view of (B, tokens, C), (tokens, B, C) or (tokens, C)."""
        x = x.unflatten(-1, (self.num_heads, self.head_dim))
        if x.dim() == 3:
            return x.transpose(0, 1).unsqueeze(0)
        return x.transpose(1, 2) if self.batch_first else x.permute(1, 2, 0, 3)

    def _join(self, out_BHTD: Tensor, is_batched: bool) -> Tensor:
        out_BTC = F.linear(
            out_BHTD.transpose(1, 2).flatten(2), self.out_proj.weight, self.out_proj.bias
        )
        if not is_batched:
            return out_BTC.squeeze(0)
        return out_BTC if self.batch_first else out_BTC.transpose(0, 1)

    def _mask(
        self, attn_mask: Tensor | None, key_padding_mask: Tensor | None, heads: Heads
    ) -> Tensor | None:
        q_BHTD, k_BHSD, _ = heads
        if key_padding_mask is not None and key_padding_mask.dim() == 1 and q_BHTD.shape[0] == 1:
            key_padding_mask = key_padding_mask.unsqueeze(0)
        appended = (self.bias_k is not None) + self.add_zero_attn
        shape = (*q_BHTD.shape[:3], k_BHSD.shape[2] - appended)
        return may_attend(attn_mask, key_padding_mask, shape, q_BHTD.dtype, appended=appended)

    def _attend(
        self, heads: Heads, mask: Tensor | None, is_causal: bool, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        q_BHTD, k_BHSD, v_BHSD = heads
        drop = self.next_mask() if self.p > 0.0 else NextMask(0, 0)
        window = drop.window(torch.Size((*q_BHTD.shape[:3], k_BHSD.shape[2])))
        if need_weights:
            return attention_with_weights(
                *(q_BHTD, k_BHSD, v_BHSD, mask, self.p), mask_key=drop.key, window=window
            )
        out_BHTD = attend(
            *(q_BHTD, k_BHSD, v_BHSD, mask, self.p, is_causal, None, False),
            mask_key=drop.key,
            window=window,
        )
        return out_BHTD, None
