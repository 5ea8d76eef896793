"""AdamW, Adam or SGD, with weight decay on matrices only."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from redrop.train.config import TrainConfig

BETAS = (0.9, 0.99)
"""A shorter memory than the usual 0.999, because a small batch has few tokens: nanoGPT,
https://github.com/karpathy/nanoGPT/blob/master/config/train_shakespeare_char.py"""

MOMENTUM = 0.9
"""Of SGD: He et al. 2016, section 3.4, and most since. https://arxiv.org/abs/1512.03385"""


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupSummary:
    """What one parameter group holds.

    Args:
        weight_decay: Decay of all its parameters.
        names: Qualified names; a tied parameter stands here once.
        elements: Numbers in all of them together.
    """

    weight_decay: float
    names: tuple[str, ...]
    elements: int


def describe_groups(model: nn.Module, weight_decay: float) -> tuple[GroupSummary, GroupSummary]:
    """Return the decayed group and the other one; each parameter stands in exactly one.

    Decayed is what has two dimensions or more: the matrices and, as in GPT-2 and nanoGPT, the
    embedding tables. Biases and the gains of norms are not: pulling a gain to 0 changes what the
    norm does, not how complicated the function is.

    >>> decayed, other = describe_groups(nn.Linear(3, 2), weight_decay=0.1)
    >>> decayed.names, other.names
    (('weight',), ('bias',))
    """
    decayed, other = _split(model)
    return _summary(decayed, weight_decay), _summary(other, 0.0)


def decayed_parameters(model: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that weight decay and L2 pull, as `describe_groups` says."""
    return list(_split(model)[0].values())


def build_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a config over all parameters of the model.

    With learning rate η, gradient g and decay λ, which is 0 but on what `describe_groups` calls
    decayed:

    - "adamw": w ← w − η · λ · w − η · m̂ / (√v̂ + ε), m̂ and v̂ the moving means of g and g².
    - "adam": the same with λ = 0. Adam with λ · w in its gradient is `l2`, not this.
    - "sgd": b ← 0.9 · b + g + λ · w, then w ← w − η · b. A constant g moves w by 10 · η · g in the
      end, and so does the decay.

    References:
        Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019.
        https://arxiv.org/abs/1711.05101
        Kingma, Ba: Adam: A Method for Stochastic Optimization, 2015.
        https://arxiv.org/abs/1412.6980
        Sutskever et al.: On the importance of initialization and momentum in deep learning, 2013.
        https://proceedings.mlr.press/v28/sutskever13.html
    """
    decayed, other = _split(model)
    groups = [
        {"params": list(decayed.values()), "weight_decay": config.weight_decay},
        {"params": list(other.values()), "weight_decay": 0.0},
    ]
    # Fused: one call for all tensors; of a tiny model's step it takes 1 % instead of 5 %.
    if config.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=config.learning_rate, momentum=MOMENTUM, fused=True)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.learning_rate, betas=BETAS, fused=True)


def optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    """Return the optimizer's state by `parameter name/state name`, as a checkpoint keeps it."""
    return {
        f"{name}/{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state[parameter].items()
    }


def load_optimizer_tensors(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    """Put back what `optimizer_tensors` returned."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, state_name = key.rpartition("/")
        # Cloned: a file's tensors may lie unaligned, and then products could round otherwise.
        optimizer.state[parameters[name]][state_name] = value.clone()


def _split(model: nn.Module) -> tuple[dict[str, nn.Parameter], dict[str, nn.Parameter]]:
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]

    def where(is_matrix: bool) -> Iterator[tuple[str, nn.Parameter]]:
        return ((n, p) for n, p in trained if (p.dim() >= 2) == is_matrix)

    return dict(where(True)), dict(where(False))


def _summary(parameters: dict[str, nn.Parameter], weight_decay: float) -> GroupSummary:
    elements = sum(parameter.numel() for parameter in parameters.values())
    return GroupSummary(weight_decay=weight_decay, names=tuple(parameters), elements=elements)
