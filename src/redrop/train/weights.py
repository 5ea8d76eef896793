"""The weights of a model by name, each once, with the buffers that belong to them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from redrop.errors import UsageError


def get_weights(model: nn.Module) -> dict[str, Tensor]:
    """Return parameters and persistent buffers by qualified name, not copied.

    A tied parameter has its first name only: safetensors refuses tensors that share memory, and the
    model ties them again when it is built.
    """
    weights = {name: parameter.detach() for name, parameter in model.named_parameters()}
    kept = model.state_dict(keep_vars=True)
    buffers = {name: buffer for name, buffer in model.named_buffers() if name in kept}
    return weights | buffers


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
