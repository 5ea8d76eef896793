"""Matched training studies: arms x seeds with the same weights, batches and nested masks.

The package is also what people call: `redrop.study(my_loaders, model=my_model)`. A package shadows
any function of its name as soon as one of its modules is imported, so it is made callable instead.
Importing it loads no torch; calling it does.
"""

import importlib
import inspect
import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """A package that runs a study when it is called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a study; see `redrop.study.api.study`."""
        return importlib.import_module("redrop.study.api").study(*args, **kwargs)

    @property
    def __signature__(self) -> inspect.Signature:
        """Of the function, for `help` and editors."""
        return inspect.signature(importlib.import_module("redrop.study.api").study)


sys.modules[__name__].__class__ = _CallablePackage
