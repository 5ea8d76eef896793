"""Which code made a run: one digest of all that decides its numbers; knows no torch."""

import hashlib
from functools import cache
from pathlib import Path

import redrop

_DECIDES = (
    "mask",
    "kernels",
    "ops",
    "nn",
    "models",
    "integrations",
    "regularize",
    "data",
    "train",
    "tasks",
)


@cache
def code_digest() -> str:
    """Return 12 hex digits of the SHA-256 of the package's code, Python and compiled.

    A version names what was released; between two releases code changes under one name, and a run
    of yesterday's code must not pass for one of today's. What only plans, shows or reports is left
    out: it moves no number of a run.

    >>> len(code_digest())
    12
    """
    root = Path(redrop.__file__).parent
    files = [path for layer in _DECIDES for path in (root / layer).rglob("*.py")]
    whole = hashlib.sha256()
    for path in sorted([*files, *root.glob("_core*.so")]):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        whole.update(f"{path.relative_to(root).as_posix()} {content}\n".encode())
    return whole.hexdigest()[:12]
