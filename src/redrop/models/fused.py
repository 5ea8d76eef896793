"""Dropout together with its neighbour, in one pass over memory instead of two.

A site is a module that can be called, watched by hooks and replaced. Where nobody does that, and it
drops, its mask is asked for and handed to an operator that does the neighbour's work too. Either
way the same elements drop; the results differ by rounding, since the operator rounds once.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from redrop.nn import Dropout
from redrop.ops import dropout_add, gelu_dropout
from redrop.ops.residual import is_addable

FUSED_GELU = torch.float32
"""The dtype in which one kernel for activation and dropout is the faster way. In bfloat16 PyTorch's
activation and our dropout after it take less time than the kernel, whose arithmetic is float32."""


def add_dropped(residual: Tensor, branch: Tensor, site: Dropout) -> Tensor:
    """Return residual + site(branch) of a fusable site, in one pass.

    Under autocast the branch is bfloat16 and the residual stream float32, which the operator adds
    as they are. Dtypes that it does not take together meet in that of the stream.

    >>> add_dropped(torch.ones(2), torch.ones(2), Dropout(1.0))
    tensor([1., 1.])
    """
    mask = site.next_mask()
    window = mask.window(branch.shape)
    if not is_addable(branch.dtype, residual.dtype):
        branch = branch.to(residual.dtype)
    return dropout_add(branch, residual, mask.key, site.p, window=window)


def dropped_gelu(x: Tensor, site: Dropout) -> Tensor:
    """Return site(gelu(x)). Backward makes gelu(x) again instead of keeping it.

    >>> dropped_gelu(torch.zeros(2), Dropout(0.5))
    tensor([0., 0.])
    """
    if x.dtype != FUSED_GELU or not is_fusable(site):
        y: Tensor = site(F.gelu(x))
        return y
    mask = site.next_mask()
    return gelu_dropout(x, None, mask.key, site.p, window=mask.window(x.shape))


def is_fusable(site: nn.Module) -> bool:
    """Say whether a site drops, and nobody would miss the call of it.

    >>> is_fusable(Dropout(0.1)), is_fusable(Dropout(0.0)), is_fusable(nn.Dropout(0.1))
    (True, False, False)
    """
    return type(site) is Dropout and site.training and site.p > 0 and not is_watched(site)


def is_watched(module: nn.Module) -> bool:
    """Say whether a module has hooks or a forward of its own, which only its call runs.

    >>> layer = nn.Linear(1, 1)
    >>> is_watched(layer)
    False
    >>> handle = layer.register_forward_hook(print)
    >>> is_watched(layer)
    True
    """
    return bool(
        module._forward_hooks
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
        or "forward" in vars(module)
    )
