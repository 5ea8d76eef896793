"""From a function of the user's to a name by which every process finds it again.

A run is a process of its own, perhaps on another machine, and a record must say what was trained
years later; so a study keeps names, `my_module:build`, and never the functions themselves.
"""

from __future__ import annotations

import ast
import inspect
import sys
from importlib.machinery import PathFinder
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from redrop.errors import UsageError
from redrop.integrations.load_object import load_object

_NO_MODULE = (
    "Write it into a file beside this one, such as my_module.py (in a notebook: %%writefile "
    'my_module.py), and pass "my_module:{name}".'
)


def importable_name(given: Any, role: str) -> str:
    """Return `module:name` of a function or class that any process can import.

    What stands in the script that is being run is named by its file, `my_script:build`.

    Args:
        given: The function; a text is returned as it is.
        role: What it is for: the name of the argument.

    Raises:
        UsageError: It is none, is made inside another function, is a lambda, stands in a notebook,
            or its name gives something else.

    >>> from collections import OrderedDict
    >>> importable_name(OrderedDict, "model")
    'collections:OrderedDict'
    """
    if isinstance(given, str):
        return given
    path, module = getattr(given, "__qualname__", None), getattr(given, "__module__", None)
    if not callable(given) or path is None or module is None:
        raise UsageError(
            f"`{role}` must be a function, or its name `module:name`; got an object of "
            f"{type(given).__name__}. Every run makes its own: return it from a function."
        )
    if "<" in path:
        kind = "a lambda" if "<lambda>" in path else "made inside another function"
        raise UsageError(
            f"`{role}` must be a function that other processes can import; `{path}` is {kind}. "
            "Write it with `def` at the top level of a file."
        )
    module = _script_name(role, path) if module == "__main__" else module
    name = f"{module}:{path}"
    if load_object(name) is not given:
        raise UsageError(
            f"`{role}` must be a function that other processes can import; `{name}` is another "
            "object, perhaps the one before it was decorated. Pass what has that name."
        )
    return name


def check_guard() -> None:
    """Refuse a call at the top level of a script that runs again in every process it starts.

    Raises:
        UsageError: The script that is being run calls without `if __name__ == "__main__":`.
    """
    main = sys.modules["__main__"]
    line, file = _line_in(main), getattr(main, "__file__", None)
    if line is None or file is None:
        return
    try:
        statements = ast.parse(Path(file).read_bytes()).body
    except (OSError, SyntaxError, ValueError):  # no Python text: nothing runs again
        return
    for statement in statements:
        if statement.lineno <= line <= (statement.end_lineno or statement.lineno):
            is_guard = isinstance(statement, ast.If) and any(
                isinstance(each, ast.Name) and each.id == "__name__"
                for each in ast.walk(statement.test)
            )
            if not is_guard:
                raise UsageError(
                    "A study starts processes that run this script again, so its start must stand "
                    f'under `if __name__ == "__main__":`; got a call in line {line} of '
                    f"{Path(file).name}. Indent it below that line."
                )


def _line_in(main: ModuleType) -> int | None:
    """Return the line of the top level of the script that runs now, or None elsewhere."""
    line, frame = None, inspect.currentframe()
    while frame is not None:
        if _is_top_level(frame, main):
            line = frame.f_lineno
        frame = frame.f_back
    return line


def _is_top_level(frame: FrameType, main: ModuleType) -> bool:
    return frame.f_globals is main.__dict__ and frame.f_code.co_name == "<module>"


def _script_name(role: str, path: str) -> str:
    """Return the name by which the script that is being run can be imported."""
    main = sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if main.__spec__ is not None:  # python -m package.module
        name = main.__spec__.name
    elif file is None:
        raise UsageError(
            f"`{role}` must be a function that other processes can import; `{path}` stands in a "
            f"notebook or was typed in. {_NO_MODULE.format(name=path)}"
        )
    else:
        name = Path(file).stem
        found = PathFinder.find_spec(name) if name.isidentifier() else None
        if found is None or found.origin is None or not _is_same(found.origin, file):
            raise UsageError(
                f"`{role}` must be a function that other processes can import; `{path}` stands in "
                f"{Path(file).name}, which cannot be imported as {name}. "
                f"{_NO_MODULE.format(name=path)}"
            )
    # Imported under its own name the script would run once more, and its classes would be others.
    sys.modules.setdefault(name, main)
    return name


def _is_same(one: str, other: str) -> bool:
    return Path(one).resolve() == Path(other).resolve()
