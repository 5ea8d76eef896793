"""What nodes of a Ray cluster send to the driver, and where it waits there; knows no torch."""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, NamedTuple


class Letter(NamedTuple):
    """What an attempt at a run tells the driver: a line of the record, a step, a checkpoint."""

    run: str
    attempt: int
    event: Mapping[str, Any]


class Saved(NamedTuple):
    """A checkpoint on its way from one machine to another: its name, and its files by name."""

    name: str
    files: Mapping[str, bytes]


class Mailbox:
    """An actor beside the driver: nodes post letters, the driver waits for them.

    A letter stays until the driver has said that it is dealt with, so whatever interrupts the
    driver while it reads, no letter is lost.
    """

    def __init__(self) -> None:
        self._letters: list[Letter] = []
        self._done = 0
        self._has_mail = asyncio.Event()

    async def post(self, letter: Letter) -> None:
        """Keep a letter for the driver."""
        self._letters.append(letter)
        self._has_mail.set()

    async def take(self, done: int, seconds: float) -> list[Letter]:
        """Return the letters behind the first `done`, oldest first, and forget those.

        Where there is none, wait for one, so many seconds at most.
        """
        del self._letters[: done - self._done]
        self._done = done
        if not self._letters and seconds:
            self._has_mail.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._has_mail.wait(), seconds)
        return list(self._letters)
