"""One command at a time runs a study."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from redrop.disk import disk_error
from redrop.errors import UsageError

LOCK_FILE = ".lock"


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Hold a study folder for this process; the kernel lets go of it when the process ends.

    The file stays: to remove it would let two processes lock two files of one name.

    Raises:
        UsageError: Another process holds it, or the folder cannot be written.
    """
    try:
        file = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise disk_error(error, folder / LOCK_FILE, "Nothing was run.") from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"A study is run by one command at a time; `{folder}` is being run by another "
                "process. Wait for it, or end it; what is recorded is kept."
            ) from error
        yield
    finally:
        os.close(file)
