"""Replayable, near-free dropout for PyTorch, and the lab that says whether a model needs it.

Importing the package loads no torch; the names that need it load it when they are first used.
"""

import importlib

from redrop.mask import SPEC_VERSION, Window, replay

__version__ = "0.1.0"
__all__ = ["SPEC_VERSION", "Window", "__version__", "attach", "replay", "study"]


_LOADED_ON_USE = {"attach": "redrop.nn"}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name in _LOADED_ON_USE:
        return getattr(importlib.import_module(_LOADED_ON_USE[name]), name)
    if name == "study":  # the package, which can be called
        return importlib.import_module("redrop.study")
    raise AttributeError(f"module 'redrop' has no attribute {name!r}")
