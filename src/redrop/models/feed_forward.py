"""The feed-forward half of a block.

Shape legend: B batch, T tokens, C width.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from redrop.models.config import TransformerConfig
from redrop.nn import Dropout

EXPANSION = 4
"""Hidden channels per channel, as in Vaswani et al. 2017, table 3."""


class FeedForward(nn.Module):
    """out = contract(dropout(gelu(expand(x)))), then dropout on what goes back.

    Sites:
        `hidden` drops channels after the activation function, `residual` channels of the output.

    References:
        Hendrycks, Gimpel: Gaussian Error Linear Units, 2016. https://arxiv.org/abs/1606.08415
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.expand = nn.Linear(config.width, EXPANSION * config.width)
        self.contract = nn.Linear(EXPANSION * config.width, config.width)
        self.hidden = Dropout(config.dropout.feed_forward_hidden)
        self.residual = Dropout(config.dropout.feed_forward_residual)

    def forward(self, x_BTC: Tensor) -> Tensor:
        """Transform each token by itself."""
        hidden_BTF = self.hidden(F.gelu(self.expand(x_BTC)))
        out_BTC: Tensor = self.residual(self.contract(hidden_BTF))
        return out_BTC
