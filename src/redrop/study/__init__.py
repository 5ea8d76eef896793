"""Matched training studies: arms x seeds with the same weights, batches and nested masks.

The package is also what people call: `redrop.study(my_loaders, model=my_model)`. A package shadows
any function of its name as soon as one of its modules is imported, so it is made callable instead.
Importing it loads no torch; calling it does.
"""

import inspect
import sys
from dataclasses import fields
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """A package that runs a study when it is called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run a study; see `redrop.study.api.study`."""
        from redrop.study.api import study

        known = inspect.signature(study).parameters
        for name in kwargs.keys() - known:
            _refuse_setting(name)
        return study(*args, **kwargs)

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        """Of the package, and of the function with its arguments: what `help` shows."""
        from redrop.study.api import study

        own = self.__dict__["__doc__"]
        return f"{own}\nredrop.study{inspect.signature(study)}\n\n{inspect.getdoc(study)}\n"

    @property
    def __signature__(self) -> inspect.Signature:
        """Of the function, for `help` and editors."""
        from redrop.study.api import study

        return inspect.signature(study)


def _refuse_setting(name: str) -> None:
    """Say where a setting stands that was given as an argument of its own."""
    from redrop.errors import UsageError
    from redrop.study.options import DataOptions, ModelOptions, TrainOptions

    groups = {"shape": ModelOptions, "read": DataOptions, "train": TrainOptions}
    for argument, options in groups.items():
        if name in (member.name for member in fields(options)):
            raise UsageError(
                f"`{name}` is a setting of `{argument}`; got it as an argument. Pass "
                f"{argument}={{{name!r}: …}}."
            )


sys.modules[__name__].__class__ = _CallablePackage
