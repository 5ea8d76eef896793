"""`my_module:build`: an object of the user's own, by the name of its module."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import Any

from redrop.errors import UsageError


def load_object(spec: str) -> Any:
    """Return what `module:name` names; the module is looked for in the current directory first.

    Args:
        spec: `my_module:build`, `my.package.module:Class.attribute`, or `my_file.py:build`.

    Raises:
        UsageError: It is written otherwise, there is no such module, importing it fails, or the
            module has no such name.

    >>> load_object("math:tau")
    6.283185307179586
    """
    module_name, colon, path = spec.partition(":")
    module_name = module_name.removesuffix(".py").replace("/", ".").replace(os.sep, ".")
    parts = path.split(".")
    if not colon or not all(part.isidentifier() for part in (*module_name.split("."), *parts)):
        raise UsageError(
            f"An object of yours is named `module:name`, such as my_module:build; got {spec!r}."
        )
    found = _import(module_name, spec)
    for part in parts:
        if not hasattr(found, part):
            raise UsageError(f"`{module_name}` has no `{path}`{_advice(found, part)}")
        found = getattr(found, part)
    return found


def _import(name: str, spec: str) -> Any:
    here = os.getcwd()  # noqa: PTH109 - sys.path holds strings
    if here not in sys.path:
        sys.path.insert(0, here)  # for good: the module may import its neighbours later
    importlib.invalidate_caches()  # a file that was written a moment ago is found too
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"There is no module `{error.name}` in {here} or among the installed packages; "
                f"{spec!r} needs one. Run redrop where it lies."
            ) from error
        raise UsageError(f"Importing `{name}` failed: it needs {error.name}.") from error
    except Exception as error:  # whatever the user's module raises
        raise UsageError(f"Importing `{name}` failed: {first_line(error)}.") from error


def first_line(error: BaseException) -> str:
    """Return kind and first line of an error, for a message of one line.

    >>> first_line(KeyError("x"))
    "KeyError: 'x'"
    """
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')}" if lines else type(error).__name__


def _advice(holder: Any, name: str) -> str:
    import difflib

    close = difflib.get_close_matches(name, [n for n in dir(holder) if n[0] != "_"], n=3)
    return f". Did you mean {' or '.join(close)}?" if close else "."
