"""Ctrl-C, or a request to terminate, between two steps, never inside one."""

import signal
import threading
from types import FrameType
from typing import Any, Final

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """Within the block the first Ctrl-C or SIGTERM is only noted; a second one acts at once.

    An interrupt inside an optimizer step would leave half of the weights updated, and no checkpoint
    could be written of that. Outside the main thread, and for a signal that the process ignores, it
    does nothing.

    >>> with Interrupt() as interrupt:
    ...     interrupt.is_requested
    False
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before not in (signal.SIG_IGN, None):
                    self._before[number] = before
                    signal.signal(number, self._note)
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.is_requested = True
        self._restore()

    def _restore(self) -> None:
        while self._before:
            signal.signal(*self._before.popitem())

    def __exit__(self, *_: object) -> None:
        self._restore()
