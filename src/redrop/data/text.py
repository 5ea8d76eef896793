r"""The user's own text: a file, or a folder of text files in sorted order.

Strict, because a silent repair here would become a false result later: text is UTF-8 or an error
that says where it is not. Tolerated and removed: a byte order mark, and the newlines of other
systems (\r\n and \r become \n).
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from redrop.errors import UsageError

UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
BYTE_ORDER_MARK = "\ufeff"
PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")


def read_text(path: str | Path) -> str:
    r"""Return the text of a file, or of all files below a folder.

    In a folder, files are sorted by their path, part by part, so the order depends neither on the
    file system nor on the language of the machine. A blank line separates two files. Names that
    begin with a dot are passed over, folders behind symbolic links are not entered, and empty files
    add nothing; any other file must be text.

    Args:
        path: A text file or a folder of text files.

    Raises:
        UsageError: The path is missing, unreadable, empty, binary, or not UTF-8.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "b.txt").write_bytes(b"second\r\n")
    ...     _ = Path(folder, "a.txt").write_bytes(b"first")
    ...     read_text(folder)
    'first\n\nsecond\n'
    """
    root = Path(path)
    if stat.S_ISDIR(_mode(root)):
        texts = [text for file in _files(root) if (text := _read_file(file)).strip()]
        joined = "\n".join(text if text.endswith("\n") else text + "\n" for text in texts)
        what = "The folder"
    else:
        joined = _read_file(root)
        what = "The file"
    if not joined.strip():
        raise UsageError(
            f"{what} must hold text; {str(root)!r} is empty. Check the path, or write text into it."
        )
    return joined


def _files(root: Path) -> list[Path]:
    """All files below a folder that are not hidden, sorted by the parts of their path."""

    def below() -> Iterator[Path]:
        for folder, folders, names in os.walk(root, onerror=lambda error: _refuse(error, root)):
            folders[:] = [name for name in folders if not name.startswith(".")]
            yield from (Path(folder, name) for name in names if not name.startswith("."))

    return sorted(below(), key=lambda file: file.relative_to(root).parts)


def _read_file(path: Path) -> str:
    if not stat.S_ISREG(_mode(path)):
        # a pipe could be read once, but each run of a study reads its text again
        raise UsageError(
            f"Text is read from a regular file; {str(path)!r} is a pipe or a device."
            " Save its content to a file first."
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        _refuse(error, path)
    return _decode(content, path)


def _decode(content: bytes, path: Path) -> str:
    if content.startswith(UTF16_MARKS):
        raise UsageError(
            f"Text must be UTF-8; {str(path)!r} is UTF-16."
            " Convert it: iconv -f utf-16 -t utf-8 OLD > NEW"
        )
    if (nul := content.find(b"\0")) >= 0:
        raise UsageError(
            f"Text must be UTF-8; {str(path)!r} is binary (NUL at byte offset {nul})."
            f" {_advice(path)}"
        )
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"Text must be UTF-8; {str(path)!r} has 0x{content[error.start]:02X} at byte offset"
            f" {error.start}. Save it as UTF-8, for example: iconv -f latin1 -t utf-8 OLD > NEW"
        ) from error
    return text.removeprefix(BYTE_ORDER_MARK).replace("\r\n", "\n").replace("\r", "\n")


def _advice(binary: Path) -> str:
    suffix = binary.suffix.lower()
    if suffix in PICTURES:
        return (
            "Images are read as PNG or JPEG, from a folder with one subfolder per class: name that"
            " folder, with `--task images` if other files prevail in it."
        )
    return "Name the text itself, or move this file out of the folder."


def _mode(path: Path) -> int:
    try:
        return path.stat().st_mode
    except OSError as error:
        _refuse(error, path)
    except ValueError as error:  # a NUL in the name
        raise UsageError(
            f"A path names a file or a folder; got {str(path)!r} ({error}). Check the path."
        ) from error


def _refuse(error: OSError, asked: Path) -> NoReturn:
    """Turn what the system says about a path into one line for the user."""
    path = str(error.filename or asked)  # an error while reading names no file
    if isinstance(error, FileNotFoundError):
        raise UsageError(
            f"A text is read from a file or a folder; {path!r} does not exist."
            " Check the path, or name the embedded `reference`."
        ) from error
    raise UsageError(
        f"A text must be readable; {path!r} cannot be read: {error.strerror}."
        " Check its rights, or copy it elsewhere."
    ) from error
