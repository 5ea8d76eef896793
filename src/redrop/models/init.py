"""Initial weights by name."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from redrop.models.config import Init

INIT_STD = 0.02
"""GPT-2, https://github.com/openai/gpt-2/blob/master/src/model.py"""

INTO_RESIDUAL = ("attention.output.weight", "feed_forward.contract.weight")
"""Ends of the names of the matrices that write into the residual stream."""


def initialise(model: nn.Module, name: Init, *, seed: int, branches: int) -> None:
    """Draw a model's initial weights from a generator of their own.

    Biases begin at 0 and gains of norms at 1, whatever the name; matrices, embedding tables among
    them, so:

    - "gpt2": normal, standard deviation 0.02; those that write into the residual stream
      0.02 / √branches, so that its variance does not grow with depth.
    - "xavier": uniform, variance 2 / (inputs + outputs).
    - "kaiming": normal, variance 2 / inputs, which rectified activations leave as it is.
    - "torch": what each layer of torch.nn draws for itself, biases too.

    Args:
        model: Its parameters are overwritten.
        name: Of the rule.
        seed: Decides the weights; torch's default generator is left as it was.
        branches: Sub-layers that add to the residual stream.

    References:
        Glorot, Bengio: Understanding the difficulty of training deep feedforward neural networks,
        2010. https://proceedings.mlr.press/v9/glorot10a.html
        He et al.: Delving Deep into Rectifiers, 2015. https://arxiv.org/abs/1502.01852

    >>> layer = nn.Linear(300, 300)
    >>> initialise(layer, "gpt2", seed=0, branches=2)
    >>> round(layer.weight.detach().std().item(), 3), bool(layer.bias.any())
    (0.02, False)
    """
    if name == "torch":
        _reset(model, seed)
        return
    draw = _rule(name, branches, torch.Generator().manual_seed(seed))
    for parameter_name, parameter in model.named_parameters():
        if parameter.dim() >= 2:
            draw(parameter_name, parameter)
        elif parameter_name.endswith("bias"):
            nn.init.zeros_(parameter)


def _rule(name: Init, branches: int, generator: torch.Generator) -> Callable[[str, Tensor], Tensor]:
    def gpt2(parameter_name: str, matrix: Tensor) -> Tensor:
        is_residual = parameter_name.endswith(INTO_RESIDUAL)
        std = INIT_STD / math.sqrt(branches) if is_residual else INIT_STD
        return nn.init.normal_(matrix, std=std, generator=generator)

    def xavier(_: str, matrix: Tensor) -> Tensor:
        return nn.init.xavier_uniform_(matrix, generator=generator)

    def kaiming(_: str, matrix: Tensor) -> Tensor:
        return nn.init.kaiming_normal_(matrix, nonlinearity="relu", generator=generator)

    return {"gpt2": gpt2, "xavier": xavier, "kaiming": kaiming}[name]


def _reset(model: nn.Module, seed: int) -> None:
    """Let each layer draw its own weights again, in the order of the model."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        for module in model.modules():
            reset = getattr(module, "reset_parameters", None)
            if reset is not None:
                reset()
