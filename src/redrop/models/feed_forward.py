"""The feed-forward half of a block.

Shape legend: … any leading dimensions, C width.
"""

from torch import Tensor, nn

from redrop.models.activation import ACTIVATIONS
from redrop.models.config import Activation
from redrop.models.fused import dropped_gelu
from redrop.models.rates import DropoutRates
from redrop.models.residual import SubLayer
from redrop.nn import Dropout

EXPANSION = 4
"""Hidden channels per channel, as in Vaswani et al. 2017, table 3."""


class FeedForward(SubLayer):
    """out = contract(dropout(activation(expand(x)))), then dropout on what goes back.

    Args:
        width: Channels of the residual stream.
        dropout: Rates of the two sites.
        activation: Name of the activation function.

    Sites:
        `hidden` drops channels after the activation function, `residual` channels of the output.

    References:
        Hendrycks, Gimpel: Gaussian Error Linear Units, 2016. https://arxiv.org/abs/1606.08415
    """

    def __init__(
        self, width: int, dropout: DropoutRates, *, activation: Activation = "gelu"
    ) -> None:
        super().__init__()
        self.activation = activation
        self.expand = nn.Linear(width, EXPANSION * width)
        self.contract = nn.Linear(EXPANSION * width, width)
        self.hidden = Dropout(dropout.feed_forward_hidden)
        self.residual = Dropout(dropout.feed_forward_residual)

    def branch(self, x: Tensor) -> Tensor:
        """Transform each token by itself, (…, C) to (…, C)."""
        expanded: Tensor = self.expand(x)
        if self.activation == "gelu":
            hidden = dropped_gelu(expanded, self.hidden)
        else:
            hidden = self.hidden(ACTIVATIONS[self.activation](expanded))
        out: Tensor = self.contract(hidden)
        return out
