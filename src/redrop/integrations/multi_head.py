"""`torch.nn.functional.multi_head_attention_forward`, with the dropout in it seen.

A function mode is off while it handles a call, so the calls inside this one would go unseen. Its
body is therefore run with other names around it: its dropout and attention lead back to the mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

import torch.nn.functional as F

from redrop.integrations.functions import parse
from redrop.integrations.scope import handling

if TYPE_CHECKING:
    from redrop.integrations.calls import FunctionCalls
    from redrop.integrations.scope import Scope


MULTI_HEAD: Final = F.multi_head_attention_forward
"""The function."""


def multi_head_attention_forward(
    calls: FunctionCalls, scope: Scope, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Any:
    """Run the function; what it drops become sites of the calling module."""

    def seen(original: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            call = parse(original, args, kwargs)
            assert call is not None  # both functions below are in the table
            with handling():
                return calls.run(call, scope)

        return run

    around = {
        **F.__dict__,
        "dropout": seen(F.dropout),
        "scaled_dot_product_attention": seen(F.scaled_dot_product_attention),
        "has_torch_function": lambda _: False,
    }
    twin = FunctionType(MULTI_HEAD.__code__, around, MULTI_HEAD.__name__, MULTI_HEAD.__defaults__)
    twin.__kwdefaults__ = MULTI_HEAD.__kwdefaults__
    return twin(*args, **kwargs)
