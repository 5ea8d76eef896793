"""Join the page's modules without a build step.

Every module imports by `import { … } from "./relative.js";` and in no other form (a test holds
this). So each can be written into a page as a `data:` address under a name of its own, the
imports replaced by these names, and an import map tells the browser which is which. The code that
runs is the code that ships.
"""

import base64
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

_IMPORT = re.compile(r'(import \{ [^}]+ \} from )"(\.{1,2}/[\w./-]+\.js)";')
PREFIX = "redrop-lab/"


def modules_from(static: Path, entry: str) -> dict[str, str]:
    """Return the entry and all it imports, dependencies first, imports replaced by names.

    Args:
        static: Folder of the page.
        entry: Of a module in it, as `js/app.js`.
    """
    found: dict[str, str] = {}
    for name in _in_order(static, entry, set()):
        source = (static / name).read_text(encoding="utf-8")
        found[name] = _renamed(name, source)
    return found


def import_map(modules: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return the import map that gives every module its `data:` address."""
    return {"imports": {PREFIX + name: _data_address(text) for name, text in modules.items()}}


def _in_order(static: Path, name: str, seen: set[str]) -> Iterator[str]:
    if name in seen:
        return
    seen.add(name)
    source = (static / name).read_text(encoding="utf-8")
    for match in _IMPORT.finditer(source):
        yield from _in_order(static, _resolve(name, match[2]), seen)
    yield name


def _renamed(name: str, source: str) -> str:
    """Return the source with every import asking for a name instead of a path."""

    def rename(match: re.Match[str]) -> str:
        return f'{match[1]}"{PREFIX}{_resolve(name, match[2])}";'

    return _IMPORT.sub(rename, source)


def _resolve(importer: str, specifier: str) -> str:
    """Return the imported module's path in the page's folder.

    >>> _resolve("js/panels/bars.js", "../core/dom.js")
    'js/core/dom.js'
    """
    return posixpath.normpath(posixpath.join(posixpath.dirname(importer), specifier))


def _data_address(source: str) -> str:
    encoded = base64.b64encode(source.encode()).decode("ascii")
    return f"data:text/javascript;base64,{encoded}"
