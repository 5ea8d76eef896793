"""Dropout on single attention connections, after the softmax."""

from redrop.nn.dropout import Dropout


class AttentionDropout(Dropout):
    """The site of attention weights: drops single (query, key) connections, not tokens.

    Rows of the result no longer sum to 1; their expectation does. A fused attention does not call
    the module but asks it for the mask (`next_mask`); both ways drop the same connections.

    Args:
        p: Probability that a connection is dropped.

    Shape:
        (batch, heads, queries, keys) in and out, the weights after the softmax.

    Randomness:
        As for `Dropout`; sample and head name the plane, query the row, key the column, so neither
        padding nor the length of the sequence moves a bit.

    References:
        Vaswani et al.: Attention Is All You Need, 2017, has dropout elsewhere; dropping attention
        weights became custom with its implementations, see Zehui et al.: DropAttention, 2019.
        https://arxiv.org/abs/1907.11065

    >>> import torch
    >>> AttentionDropout(p=0.1)(torch.full((1, 2, 3, 3), 1 / 3)).shape
    torch.Size([1, 2, 3, 3])
    """

    def __init__(self, p: float = 0.0) -> None:
        super().__init__(p, inplace=False)
