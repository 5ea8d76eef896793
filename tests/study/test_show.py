"""Layers import one way, and nothing goes round that by naming a layer in a text."""

import ast
from pathlib import Path

import redrop
from redrop.cli import engine
from redrop.study import show

ROOT = Path(redrop.__file__).parent
LOADERS = {"import_module", "__import__"}


def named_imports(path):
    """The texts that are handed to a function that imports by name."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if name in LOADERS:
                yield ast.unparse(node.args[0])


def test_no_module_of_redrop_is_imported_by_a_text():
    found = {
        path.relative_to(ROOT).as_posix(): texts
        for path in ROOT.rglob("*.py")
        if (texts := [text for text in named_imports(path) if "redrop" in text])
    }
    # The root names the layers that it loads when they are used; nothing imports it back.
    assert found == {"__init__.py": ["'redrop.study'"]}


def test_a_call_shows_the_bar_of_the_command():
    assert show.progress() == (engine.watch, engine.announce)
