import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from redrop.data.images import load_images
from redrop.data.optional import import_optional
from redrop.data.tables import load_table
from redrop.errors import UsageError


class Without:
    """A finder that stands first and finds that a package is not installed."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, *_: object) -> None:
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.partition(".")[0])


def test_a_missing_package_is_said_with_the_line_that_installs_it():
    with pytest.raises(UsageError, match="This needs the package `no-such`, .*pip install no-such"):
        import_optional("no_such.part", package="no-such", need="This")


def test_a_package_that_lacks_its_own_needs_speaks_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "half_there.py").write_text("import no_such_dependency")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        import_optional("half_there", package="half-there", need="This")


@pytest.mark.parametrize(
    ("module", "load", "package"),
    [
        ("sklearn", lambda root: load_images("digits"), "scikit-learn"),
        ("sklearn", lambda root: load_table("wine"), "scikit-learn"),
        ("duckdb", lambda root: load_table(root / "table.csv"), "duckdb"),
        ("PIL", lambda root: load_images(root), "pillow"),
    ],
    ids=["digits", "wine", "csv", "folder"],
)
def test_each_source_names_what_it_lacks(
    module: str,
    load: Callable[[Path], object],
    package: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    (tmp_path / "table.csv").write_text("a,b\n1,2\n")
    for name in list(sys.modules):
        if name.partition(".")[0] == module:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Without(module), *sys.meta_path])
    with pytest.raises(UsageError, match=f"not installed. Run: pip install {package}$"):
        load(tmp_path)
