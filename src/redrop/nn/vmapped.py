"""One use of a site under torch.vmap: what it draws, where each sample is to have its own mask.

`randomness="different"` means here what a loop over the samples means: a number of torch's
generator for each, in their order. `"same"` is one use, and `"error"` is torch's to refuse.
"""

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import (
    VmapInterpreter,
    coerce_cinterpreter,
    temporarily_clear_interpreter_stack,
)


def draw_under_transform(like: Tensor) -> int | Tensor:
    """Draw as `redrop.nn.site.draw` does, inside transforms of torch.func.

    Args:
        like: 0-d int64; it is not written to, which a transform forbids those inside it.

    Returns:
        A number; or where samples differ, a tensor that stands for one number in each sample.

    Raises:
        RuntimeError: A vmap around allows no randomness; torch's own error.
    """
    modes = {level.randomness() for level in _vmaps()}
    if "error" in modes:
        torch.rand(())  # torch knows best how to refuse it
    if "different" in modes:
        sizes = [level.batch_size() for level in _different()]
        with temporarily_clear_interpreter_stack():
            numbers = torch.empty(sizes, dtype=like.dtype, device=like.device).random_()
        return one_in_each(numbers)
    return int(torch.empty_like(like).random_().item())


def one_in_each(numbers: Tensor) -> Tensor:
    """Return what stands for one number in each sample.

    Args:
        numbers: Plain, with a dimension for each vmap whose samples differ, the outermost first.
    """
    for level in _different():
        numbers = _functorch._add_batch_dim(numbers, 0, level.level())
    return numbers


def all_of(number: Tensor) -> Tensor:
    """Return the plain tensor of all samples that `one_in_each` has made into one number."""
    while _functorch.is_batchedtensor(number):
        number = _functorch.get_unwrapped(number)
    return number


def _vmaps() -> list[VmapInterpreter]:
    levels = map(coerce_cinterpreter, _functorch.get_interpreter_stack() or [])
    return [level for level in levels if isinstance(level, VmapInterpreter)]


def _different() -> list[VmapInterpreter]:
    return [level for level in _vmaps() if level.randomness() == "different"]
