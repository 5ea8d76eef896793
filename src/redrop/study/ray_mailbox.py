"""What nodes of a Ray cluster send to the driver, and where it waits there; knows no torch."""

import asyncio
from collections.abc import Mapping, Sequence
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


class Mail(NamedTuple):
    """What the driver gets: letters, oldest first, behind the first so many."""

    first: int
    letters: Sequence[Letter]


class Mailbox:
    """An actor beside the driver: nodes post letters, the driver waits for them.

    A letter stays until the driver has said that it is dealt with, so whatever interrupts the
    driver while it reads, no letter is lost.
    """

    def __init__(self) -> None:
        self._letters: list[Letter] = []
        self._done = 0
        self._has_come = asyncio.Event()

    async def post(self, letter: Letter) -> None:
        """Keep a letter for the driver."""
        self._letters.append(letter)
        self._has_come.set()

    async def take(self, done: int) -> Mail:
        """Forget the first `done` letters, and return the rest."""
        del self._letters[: max(0, done - self._done)]
        self._done = max(self._done, done)
        return Mail(self._done, list(self._letters))

    async def wait(self, done: int) -> Mail:
        """Return the mail as soon as there is a letter behind the first `done`."""
        while not (mail := await self.take(done)).letters:
            self._has_come.clear()
            await self._has_come.wait()
        return mail
