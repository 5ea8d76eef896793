"""The weights of a model by name, each once."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from redrop.errors import UsageError


def get_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters by qualified name, not copied; a tied one has its first name only.

    safetensors refuses tensors that share memory, so tied weights are stored once and the model
    ties them again when it is built.
    """
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def set_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Copy the weights into the model.

    Raises:
        UsageError: A name or a shape is not the model's.
    """
    own = get_weights(model)
    shapes = {name: tuple(weight.shape) for name, weight in own.items()}
    given = {name: tuple(weight.shape) for name, weight in weights.items()}
    for name in shapes.keys() | given.keys():
        if shapes.get(name) != given.get(name):
            raise UsageError(
                f"Weights must fit the model; `{name}` has shape {shapes.get(name)} there and "
                f"{given.get(name)} in the file. Is it the checkpoint of another model?"
            )
    with torch.no_grad():
        for name, weight in own.items():
            weight.copy_(weights[name])
