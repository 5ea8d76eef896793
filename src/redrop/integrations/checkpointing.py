"""Activation checkpointing of a bare function: its recomputation gets back the scope it ran in.

A module that is run again in backward opens its own scope. A function that a forward hands to
`torch.utils.checkpoint` does not: run again, its dropout would be torch's, with another mask, and
the gradients wrong without a word. Hugging Face's layers checkpoint that way. So a call that drops
looks whether a checkpoint began since its scope did, and makes it recompute within that scope.
"""

from __future__ import annotations

import inspect
import sys
from collections import Counter
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
import torch.utils.checkpoint as torch_checkpoint

from redrop.errors import UsageError
from redrop.integrations.scope import Scope, ScopedForward

_REENTRANT = inspect.unwrap(torch_checkpoint.CheckpointFunction.forward).__code__
_CHECKPOINT = inspect.unwrap(torch_checkpoint.checkpoint).__code__


class Recomputation:
    """A function that runs within the scope in which it ran the first time."""

    def __init__(self, function: Callable[..., Any], scope: Scope) -> None:
        self.function = function
        self.scope = scope
        self.counts = Counter(scope.counts)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function within the scope."""
        scope = self.scope
        with Scope(scope.calls, scope.name, scope.module, Counter(self.counts)):
            return self.function(*args, **kwargs)


_SCOPE_BEGINS = (ScopedForward.__call__.__code__, Recomputation.__call__.__code__)


def keep_scope(scope: Scope) -> None:
    """Let every checkpoint that began since the innermost scope did recompute within it.

    Raises:
        UsageError: This version of torch keeps the recomputed function somewhere else.
    """
    frame: FrameType | None = sys._getframe(1)
    is_reentrant = False
    while frame is not None and frame.f_code not in _SCOPE_BEGINS:
        if frame.f_code is _REENTRANT:
            _wrap(frame.f_locals.get("ctx"), "run_function", scope)
            is_reentrant = True
        elif frame.f_code is _CHECKPOINT:
            if not is_reentrant:  # its forward runs between two steps of a generator
                inner = getattr(frame.f_locals.get("gen"), "gi_frame", None)
                _wrap(inner and inner.f_locals.get("new_frame"), "recompute_fn", scope)
            is_reentrant = False
        frame = frame.f_back


def _wrap(holder: Any, name: str, scope: Scope) -> None:
    function = getattr(holder, name, None)
    if function is None:
        raise UsageError(
            f"`{scope.name}` calls dropout in a checkpointed function, which redrop cannot follow "
            f"into backward with torch {torch.__version__}. Checkpoint a module instead."
        )
    if not isinstance(function, Recomputation):
        setattr(holder, name, Recomputation(function, scope))
