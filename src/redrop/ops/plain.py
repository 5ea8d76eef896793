"""The fork between the two ways to a kernel: called directly, or through an operator."""

import torch
from torch import Tensor


def is_plain(x: Tensor) -> bool:
    """Say whether a tensor holds values here and now: kernels may be called on it directly."""
    return (
        not torch.compiler.is_compiling()
        and type(x) in (Tensor, torch.nn.Parameter)
        and not x.is_meta
        and torch._C._len_torch_dispatch_stack() == 0
        and not torch._C._are_functorch_transforms_active()
    )
