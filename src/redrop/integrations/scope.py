"""Which module is at work: a stack per thread, and the mode that sees its function calls.

A mode of torch's sees every function call of a forward, under whatever name it was imported, and
changes nothing for anybody else; replacing `torch.nn.functional.dropout` would miss those who
imported it before, and reach those who were never converted. But backward runs without the mode,
and with it the recomputation of activation checkpointing (pytorch issue 147995). So each module
enters the mode itself, around its own forward, also when it is called again in backward; what runs
in a recomputation outside of any module is the matter of `redrop.integrations.checkpointing`.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode, _pop_mode, _push_mode

if TYPE_CHECKING:
    from redrop.integrations.calls import FunctionCalls


class _Stack(threading.local):
    def __init__(self) -> None:
        self.scopes: list[Scope] = []
        self.is_handling = False


_stack = _Stack()


class Scope:
    """One run of a module's forward.

    Attributes:
        calls: What its function calls go to.
        name: Qualified name of the module in the converted model, empty for the model itself.
        module: The module.
        counts: How often it has called each function so far.
    """

    __slots__ = ("_has_entered", "calls", "counts", "module", "name")

    def __init__(
        self,
        calls: FunctionCalls,
        name: str,
        module: torch.nn.Module,
        counts: Counter[str] | None = None,
    ) -> None:
        self.calls = calls
        self.name = name
        self.module = module
        self.counts = Counter() if counts is None else counts

    def __enter__(self) -> Scope:
        scopes = _stack.scopes
        self._has_entered = not scopes or scopes[-1].calls is not self.calls or not _is_active()
        scopes.append(self)
        if self._has_entered:
            self.calls.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._has_entered:
            self.calls.__exit__(kind, error, traceback)
        _stack.scopes.pop()


def current_scope() -> Scope | None:
    """Return the innermost forward that runs in this thread."""
    return _stack.scopes[-1] if _stack.scopes else None


def is_handling() -> bool:
    """Say whether a call is being handled in this thread: what that calls is nobody's site."""
    return _stack.is_handling


@contextmanager
def handling() -> Iterator[None]:
    """Let the modes further out, which are still active, pass what the block calls."""
    before = _stack.is_handling
    _stack.is_handling = True
    try:
        yield
    finally:
        _stack.is_handling = before


def _is_active() -> bool:
    """Say whether the innermost mode is that of a converted model."""
    return isinstance(_top_mode(), SeesCalls)


class SeesCalls(TorchFunctionMode):
    """Base of `FunctionCalls`, for those who only need to know that it is one."""


def _top_mode() -> TorchFunctionMode | None:
    depth = torch._C._len_torch_function_stack()
    mode: TorchFunctionMode | None = torch._C._get_function_stack_at(depth - 1) if depth else None
    return mode


@contextmanager
def paused() -> Iterator[None]:
    """Take the mode away within the block; does nothing where none is active."""
    if not _is_active():
        yield
        return
    mode = _pop_mode()
    try:
        yield
    finally:
        _push_mode(mode)


class ScopedForward:
    """Stands in a module's `forward` attribute and opens a scope around the forward of its class.

    An object, not a closure, so that a converted model can be copied and pickled.

    Args:
        calls: Where function calls go.
        name: Qualified name of the module.
        module: The module.
        pauses_in_eval: In eval mode run without the mode around: torch's own encoder layers refuse
            their fast path under a function mode, and the slow one differs in last bits.
    """

    def __init__(
        self, calls: FunctionCalls, name: str, module: torch.nn.Module, *, pauses_in_eval: bool
    ) -> None:
        self.calls = calls
        self.name = name
        self.module = module
        self.pauses_in_eval = pauses_in_eval
        self.before: Callable[..., Any] | None = module.__dict__.get("forward")

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """What was there before; `inspect.signature` looks here."""
        if self.before is not None:
            return self.before
        forward: Callable[..., Any] = type(self.module).forward.__get__(self.module)
        return forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Be the forward."""
        if torch.compiler.is_compiling():
            return _uncompiled(self, args, kwargs)
        if self.pauses_in_eval and not self.module.training:
            with paused():
                return self.__wrapped__(*args, **kwargs)
        with Scope(self.calls, self.name, self.module):
            return self.__wrapped__(*args, **kwargs)

    def put_back(self) -> None:
        """Leave the module as it was."""
        if self.before is None:
            del self.module.__dict__["forward"]
        else:
            self.module.__dict__["forward"] = self.before


@torch.compiler.disable  # type: ignore[untyped-decorator]
def _uncompiled(forward: ScopedForward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Run a forward as it is: torch.compile cannot trace which scope a call belongs to."""
    return forward(*args, **kwargs)
