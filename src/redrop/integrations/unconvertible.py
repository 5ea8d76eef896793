"""What no conversion reaches: refused where it would be silently wrong, else named."""

from __future__ import annotations

import torch
from torch import nn

from redrop.errors import UsageError

_KERNELS = ("flash", "flex", "paged", "kernels-community")
"""Words in the names of Hugging Face's attention functions that call kernels of their own."""


def refuse(model: nn.Module) -> None:
    """Refuse modules whose forward is no Python any more, or runs on copies of the module.

    Raises:
        UsageError: There is one; the message names it.
    """
    for name, module in model.named_modules():
        where = f"`{name}`" if name else "the model"
        if isinstance(module, torch.jit.ScriptModule):
            raise UsageError(
                f"A scripted module has no Python forward to convert; {where} is one. Convert the "
                "module that was scripted."
            )
        if _is_compiled(module):
            raise UsageError(
                f"A compiled module cannot be converted; {where} is one. Convert the original."
            )
        if isinstance(module, nn.DataParallel):
            raise UsageError(
                f"DataParallel runs copies that conversion cannot follow; {where} is one. Use "
                "DistributedDataParallel around the converted model."
            )


def _is_compiled(module: nn.Module) -> bool:
    from torch._dynamo.eval_frame import OptimizedModule  # heavy, and seldom loaded otherwise

    return isinstance(module, OptimizedModule) or module._compiled_call_impl is not None


def name_unconverted(model: nn.Module) -> dict[str, str]:
    """Return what drops where no conversion can see it: {module: why and what to do}.

    >>> list(name_unconverted(nn.Sequential(nn.LSTM(4, 4, num_layers=2, dropout=0.5))))
    ['0']
    """
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase) and module.dropout > 0 and module.num_layers > 1:
            found[name or type(module).__name__] = (
                f"the dropout between the layers of {type(module).__name__} (p = "
                f"{module.dropout:g}) happens inside its kernel; stack layers of one, with "
                "torch.nn.Dropout between them"
            )
        attention = getattr(getattr(module, "config", None), "_attn_implementation", None)
        is_kernel = isinstance(attention, str) and any(word in attention for word in _KERNELS)
        if is_kernel and not any(name.startswith(f"{outer}.") or not outer for outer in found):
            found[name] = (
                f"the attention {attention!r} drops inside its kernel; load the model with "
                'attn_implementation="sdpa" or "eager"'
            )
    return found
