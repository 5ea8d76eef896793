"""Networks for vectors: the old pattern with its two dropouts, and the modern one.

Shape legend: B batch, C width.

Sites of the old network: `blocks.N.pre_activation`, `blocks.N.hidden`. Of the modern one, in block
N: `blocks.N.feed_forward.hidden`, `blocks.N.feed_forward.residual`, and where their rates are
positive `blocks.N.drop_path` and `blocks.N.layer_drop`.
"""

from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from redrop.errors import UsageError
from redrop.models.activation import ACTIVATIONS
from redrop.models.config import MLPConfig
from redrop.models.feed_forward import FeedForward
from redrop.models.init import initialise
from redrop.models.norm import norm_layer
from redrop.models.residual import add_sub_layer, drop_path_site
from redrop.models.skip import Skip
from redrop.nn import Dropout, drop_path_rates


class OldBlock(nn.Module):
    """dropout(activation(dropout(dense(x)))).

    Sites:
        `pre_activation` drops what goes into the activation function, `hidden` what comes out.
        relu(c · x) = c · relu(x) for c >= 0, so around a relu the two rates p and q act as one
        dropout of 1 − (1 − p)(1 − q); around other functions they do not.
    """

    def __init__(self, inputs: int, config: MLPConfig) -> None:
        super().__init__()
        self.activation = config.activation
        self.dense = nn.Linear(inputs, config.width)
        self.pre_activation = Dropout(config.dropout.pre_activation)
        self.hidden = Dropout(config.dropout.feed_forward_hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Transform (B, inputs) to (B, C)."""
        activated_BC = ACTIVATIONS[self.activation](self.pre_activation(self.dense(x)))
        return cast(Tensor, self.hidden(activated_BC))


class OldMLP(nn.Module):
    """Dense → dropout → activation → dropout → dense: no norm, no residual connection.

    Args:
        config: Its shape and its dropout rates; usual ones are 0.5 before the activation function
            and 0.3 after it.
        seed: Of the initial weights; torch's default generator is left as it was.

    Shape:
        (B, features) in, (B, outputs) out.

    Raises:
        UsageError: The config is of the modern network, or the input has other features.

    References:
        Srivastava et al.: Dropout. JMLR 15, 2014. https://jmlr.org/papers/v15/srivastava14a.html

    >>> from redrop.models import DropoutRates
    >>> rates = DropoutRates(pre_activation=0.5, feed_forward_hidden=0.3)
    >>> config = MLPConfig(features=4, outputs=3, network="old", layers=1, dropout=rates)
    >>> OldMLP(config)(torch.ones(2, 4)).shape
    torch.Size([2, 3])
    """

    KINDS: ClassVar[tuple[str, ...]] = MLPConfig.KINDS["old"]

    def __init__(self, config: MLPConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = _of_network(config, "old")
        with torch.random.fork_rng(devices=[]):  # layers draw weights that are drawn anew below
            widths = [config.features, *[config.width] * (config.layers - 1)]
            self.blocks = nn.Sequential(*(OldBlock(inputs, config) for inputs in widths))
            self.output = nn.Linear(config.width, config.outputs)
        initialise(self, config.init, seed=seed, branches=1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of each sample."""
        return cast(Tensor, self.output(self.blocks(_checked(x, self.config))))


class ModernBlock(nn.Module):
    """x + feed_forward(norm(x)); norm layer "none": x + feed_forward(x).

    Sites:
        Those of `feed_forward`; `drop_path` drops the branch of single samples, `layer_drop` skips
        the block. The last two are there only where their rates are positive.
    """

    def __init__(self, config: MLPConfig, *, drop_path: float) -> None:
        super().__init__()
        self.has_residual = config.residual
        self.norm = norm_layer(config.norm_layer, config.width)
        self.feed_forward = FeedForward(config.width, config.dropout, activation=config.activation)
        self.drop_path = drop_path_site(drop_path)
        self.layer_drop = Skip(config.dropout.layer_drop) if config.dropout.layer_drop else None

    def forward(self, x_BC: Tensor) -> Tensor:
        """Add to the residual stream."""
        return self._run(x_BC) if self.layer_drop is None else self.layer_drop(self._run, x_BC)

    def _run(self, x_BC: Tensor) -> Tensor:
        return add_sub_layer(
            *(x_BC, self.feed_forward, self.norm, self.drop_path), has_residual=self.has_residual
        )


class ModernMLP(nn.Module):
    """Dense, then blocks of norm → feed-forward → residual addition, then norm and dense.

    It is a pre-norm transformer without attention: what regularizes it is the norm and the residual
    stream first, dropout second.

    Args:
        config: Its shape and its dropout rates.
        seed: Of the initial weights; torch's default generator is left as it was.

    Shape:
        (B, features) in, (B, outputs) out.

    Raises:
        UsageError: The config is of the old network, or the input has other features.

    References:
        Gorishniy et al.: Revisiting Deep Learning Models for Tabular Data, 2021 (its ResNet, with
        another norm). https://arxiv.org/abs/2106.11959

    >>> ModernMLP(MLPConfig(features=4, outputs=3))(torch.ones(2, 4)).shape
    torch.Size([2, 3])
    """

    KINDS: ClassVar[tuple[str, ...]] = MLPConfig.KINDS["modern"]

    def __init__(self, config: MLPConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = _of_network(config, "modern")
        rates = drop_path_rates(config.dropout.drop_path, config.layers)
        with torch.random.fork_rng(devices=[]):  # layers draw weights that are drawn anew below
            self.input = nn.Linear(config.features, config.width)
            self.blocks = nn.Sequential(*(ModernBlock(config, drop_path=p) for p in rates))
            self.final_norm = norm_layer(config.norm_layer, config.width)
            self.output = nn.Linear(config.width, config.outputs)
        initialise(self, config.init, seed=seed, branches=config.layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs of each sample."""
        stream_BC = self.blocks(self.input(_checked(x, self.config)))
        return cast(Tensor, self.output(self.final_norm(stream_BC)))


def _of_network(config: MLPConfig, network: str) -> MLPConfig:
    if config.network != network:
        raise UsageError(
            f'The config must have network "{network}"; got "{config.network}". '
            "`redrop.models.build_model` takes either."
        )
    return config


def _checked(x: Tensor, config: MLPConfig) -> Tensor:
    if x.dim() != 2 or x.shape[1] != config.features:
        raise UsageError(
            f"The network reads (batch, {config.features}); got shape {tuple(x.shape)}. "
            "Flatten each sample, or build the network with its `features`."
        )
    return x
