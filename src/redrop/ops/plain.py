"""The fork between the two ways to a kernel: called directly, or through an operator."""

import torch
from torch import Tensor

from redrop.errors import UsageError


def is_plain(x: Tensor) -> bool:
    """Say whether a tensor holds values here and now: kernels may be called on it directly."""
    return (
        not torch.compiler.is_compiling()
        and type(x) in (Tensor, torch.nn.Parameter)
        and not x.is_meta
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch._C._are_functorch_transforms_active()
    )


def refuse_unusable(x: object) -> None:
    """Refuse what is no dense tensor; called where something has failed, so that it costs nothing.

    Raises:
        UsageError: `x` is no tensor, a nested one or a sparse one.
    """
    if not isinstance(x, Tensor):
        rule, came, advice = "a tensor", type(x).__name__, "Convert it with torch.as_tensor"
    elif x.is_nested:
        rule, came = "a dense tensor", "a nested one"
        advice = "Pad it with torch.nested.to_padded_tensor(x, 0.0)"
    elif x.layout != torch.strided:
        rule, came, advice = "a dense tensor", f"{x.layout}", "Convert it with x.to_dense()"
    else:
        return
    raise UsageError(f"Dropout takes {rule}; got {came}. {advice}.")


def only_gradients() -> bool:
    """Say whether all active transforms of torch.func are gradients, and nothing is traced."""
    if torch.compiler.is_compiling():
        return False
    levels = torch._C._functorch.get_interpreter_stack() or []
    return all(level.key() == torch._C._functorch.TransformType.Grad for level in levels)
