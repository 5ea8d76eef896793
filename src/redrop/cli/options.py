"""How options that several commands share are written; knows no torch."""

import shlex
import sys
from typing import Annotated, TypeVar

from cyclopts import Parameter

Options = TypeVar("Options")
Flat = Annotated[Options, Parameter(name="*")]
"""Options whose settings are the command's own: --width, and not --model.width."""


def _as_typed(words: tuple[str, ...]) -> str | None:
    return " ".join(words) or None


Words = Annotated[
    tuple[str, ...], Parameter(consume_multiple=True, negative=(), show_default=_as_typed)
]
"""Several words after one option: --arms none all-0.1."""

Json = Annotated[bool, Parameter(name="--json", negative=())]
"""Print one JSON document on standard output instead of text."""


def typed_command() -> str:
    """Return the command as it was typed: what repeats it."""
    return shlex.join(["redrop", *sys.argv[1:]])
