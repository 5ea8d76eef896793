"""Packages that only some sources need: imported on use, or a line that says what to install."""

from importlib import import_module
from types import ModuleType

from redrop.errors import UsageError


def import_optional(module: str, *, package: str, need: str) -> ModuleType:
    """Import a module of a package that need not be installed.

    Args:
        module: To import, `sklearn.datasets`.
        package: As pip knows it, `scikit-learn`.
        need: Who asks, as the subject of the message: "The source `digits`".

    Raises:
        UsageError: The package is missing. If it is there and broken, its own error comes through.

    >>> import_optional("json.decoder", package="json", need="This line").__name__
    'json.decoder'
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module.partition(".")[0]:
            raise  # the package is there and lacks one of its own needs: it says so better
        raise UsageError(
            f"{need} needs the package `{package}`, which is not installed."
            f" Run: pip install {package}"
        ) from error
