"""The disk as it is: full, read-only, or gone in the middle of a write."""

import contextlib
import errno
import os
from pathlib import Path

from redrop.errors import UsageError

# EFBIG: a limit on the size of files (ulimit -f), which a user meets as a full disk.
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file in one step: whoever reads it finds the old text or the new, never a part.

    Raises:
        UsageError: The disk is full or the folder cannot be written; the old file is untouched.
    """
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_through(scratch, text.encode())
        scratch.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise disk_error(error, path, "What was there before is untouched.") from error
    finally:
        # What kept the text off the disk may keep the scrap on it; the first error is told.
        with contextlib.suppress(OSError):
            scratch.unlink()


def write_through(path: Path, content: bytes) -> None:
    """Write a file, and return when the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def disk_error(error: OSError, path: Path, kept: str) -> UsageError:
    """Return the one line a user sees when the disk refuses: what, where, and what is kept."""
    if error.errno in _NO_SPACE:
        return UsageError(f"The disk is full: `{path}` cannot grow. Make room. {kept}")
    return UsageError(f"`{path}` cannot be written: {error.strerror}. {kept}")


def sync_folder(folder: Path) -> None:
    """Make a new name in the folder survive a power cut."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
