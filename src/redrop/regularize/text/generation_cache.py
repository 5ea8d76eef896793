"""What models have already written, on disk: a killed run goes on where it stopped.

One file of JSON lines, only ever appended to:

    {"key": "…", "source": "the sentence", "text": "what the model made of it"}

The key is a SHA-256 of everything that decides the text: weights, settings, prompt, seed, sentence.
A batch is on the disk before the next one begins. A kill can tear the last line; the next append
begins on a line of its own, and the torn one is passed over when it is read. Two processes may
append at once: a batch is one write, both make the same, and an empty line means nothing.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

from redrop.disk import disk_error
from redrop.errors import UsageError

FILE = "generations.jsonl"


def generation_key(*parts: object) -> str:
    """Return the key of one text: a digest of what decides it.

    >>> generation_key("model", 1)[:12]
    '807cc6573719'
    """
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class GenerationCache:
    """Texts by key, in memory and, if there is a folder, on disk.

    Args:
        folder: Holds `generations.jsonl`; made when something is written. None keeps nothing.

    Raises:
        UsageError: The folder is a file, or the file cannot be read or is something else.
    """

    def __init__(self, folder: Path | None) -> None:
        self._path = None if folder is None else folder / FILE
        self._texts: dict[str, str] = {}
        if folder is not None and folder.exists() and not folder.is_dir():
            raise UsageError(
                f"A cache is a folder; `{folder}` is a file. Name a folder, new or old."
            )
        if self._path is not None and self._path.exists():
            self._texts = dict(_read(self._path))

    def __contains__(self, key: str) -> bool:
        return key in self._texts

    def __getitem__(self, key: str) -> str:
        return self._texts[key]

    def add(self, entries: Iterable[tuple[str, str, str]]) -> None:
        """Keep (key, source, text) entries; on return they are on the disk.

        Raises:
            UsageError: The disk is full or the folder cannot be written.
        """
        lines = []
        for key, source, text in entries:
            self._texts[key] = text
            lines.append(json.dumps({"key": key, "source": source, "text": text}) + "\n")
        if self._path is not None and lines:
            try:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                _append(self._path, "".join(lines).encode())
            except OSError as error:
                raise disk_error(
                    error, self._path, "What was generated before is untouched."
                ) from error


def _append(path: Path, content: bytes) -> None:
    """Append in one write, on a new line if the last one is torn; return when the disk has it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
        size = os.fstat(file).st_size
        if size and os.pread(file, 1, size - 1) != b"\n":
            content = b"\n" + content
        while content:  # a signal or a full disk may cut a write short
            content = content[os.write(file, content) :]
        os.fsync(file)
    finally:
        os.close(file)


def _read(path: Path) -> Iterable[tuple[str, str]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise UsageError(
            f"A cache must be readable; `{path}` cannot be read: {error.strerror}."
            " Check its rights, or name another folder."
        ) from error
    entries = [entry for line in lines if (entry := _parse(line)) is not None]
    if not entries and any(lines[:-1]):  # whole lines, and none of ours
        raise UsageError(
            f"A cache holds lines that redrop wrote; `{path}` has none."
            " Name another folder, or remove this file."
        )
    return entries


def _parse(line: bytes) -> tuple[str, str] | None:
    """Return (key, text), or None for a line that a kill has torn."""
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    is_whole = isinstance(fields, dict) and isinstance(fields.get("text"), str)
    return (str(fields.get("key")), fields["text"]) if is_whole else None
