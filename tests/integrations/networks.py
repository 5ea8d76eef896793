"""Models as people write them, with dropout in every place where it hides."""

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    """Two functions: attention that drops, and dropout on its result."""

    def __init__(self, width=8, heads=2, p=0.5):
        super().__init__()
        self.heads = heads
        self.p = p
        self.qkv = nn.Linear(width, 3 * width)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        p = self.p if self.training else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return F.dropout(y.transpose(1, 2).flatten(2), self.p, training=self.training)


class Block(nn.Module):
    def __init__(self, width=8, p=0.5):
        super().__init__()
        self.attn = Attention(width, p=p)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Dropout(p), nn.Linear(2 * width, width)
        )
        self.norm = nn.BatchNorm1d(5)

    def forward(self, x):
        x = x + self.attn(x)
        return self.norm(x + self.mlp(x))


class Net(nn.Module):
    def __init__(self, p=0.5):
        super().__init__()
        self.emb_drop = nn.Dropout(p)
        self.blocks = nn.Sequential(Block(p=p), Block(p=p))
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.blocks(self.emb_drop(x)))


def example():
    return torch.randn(4, 5, 8, generator=torch.Generator().manual_seed(7))


SITES = [
    "emb_drop",
    *(
        f"blocks.{block}.{site}"
        for block in (0, 1)
        for site in ("attn:scaled_dot_product_attention", "attn:dropout", "mlp.2")
    ),
]
"""Of `Net`, in the order of its forward."""


class Calls(nn.Module):
    """A forward of one's own choice, for tests of single functions."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *args):
        return self.function(self, *args)
