"""Ctrl-C between two steps, never inside one."""

import signal
import threading
from types import FrameType


class Interrupt:
    """Within the block the first Ctrl-C is only noted; a second one acts at once.

    An interrupt inside an optimizer step would leave half of the weights updated, and no checkpoint
    could be written of that. Outside the main thread, and where the process ignores Ctrl-C, it does
    nothing.

    >>> with Interrupt() as interrupt:
    ...     interrupt.is_requested
    False
    """

    def __init__(self) -> None:
        self.is_requested = False
        self._is_ours = False

    def __enter__(self) -> "Interrupt":
        self._before = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and self._before not in (signal.SIG_IGN, None):
            signal.signal(signal.SIGINT, self._note)
            self._is_ours = True
        return self

    def _note(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self.is_requested = True
        self._restore()

    def _restore(self) -> None:
        if self._is_ours:
            signal.signal(signal.SIGINT, self._before)
            self._is_ours = False

    def __exit__(self, *_: object) -> None:
        self._restore()
