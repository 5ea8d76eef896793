import sys

import pytest

from redrop.errors import UsageError
from redrop.integrations import load_object

FILES = {
    "redrop_good.py": "class Outer:\n    inner = 5\n\ndef build():\n    return 7\n",
    "redrop_needs.py": "import redrop_missing_library\n",
    "redrop_breaks.py": "raise RuntimeError('on purpose.\\nsecond line')\n",
    "redrop_folder/__init__.py": "",
    "redrop_folder/inside.py": "VALUE = 3\n",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name.startswith("redrop_"):
            del sys.modules[name]


@pytest.mark.parametrize(
    ("spec", "value"),
    [
        ("redrop_good:Outer.inner", 5),
        ("redrop_good.py:Outer.inner", 5),
        ("redrop_folder.inside:VALUE", 3),
        ("redrop_folder/inside.py:VALUE", 3),
    ],
)
def test_it_finds_objects_below_the_current_directory(spec, value):
    assert load_object(spec) == value


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("redrop_good", "named `module:name`"),
        ("redrop_good:", "named `module:name`"),
        (":build", "named `module:name`"),
        ("redrop good:build", "named `module:name`"),
        ("redrop_absent:build", "There is no module `redrop_absent`"),
        ("redrop_folder.absent:build", "There is no module `redrop_folder.absent`"),
        ("redrop_needs:build", "failed: it needs redrop_missing_library"),
        ("redrop_breaks:build", "failed: RuntimeError: on purpose.$"),
        ("redrop_good:buidl", "has no `buidl`. Did you mean build?"),
        ("redrop_good:Outer.other", r"has no `Outer.other`\.$"),
    ],
)
def test_mistakes_are_one_line(spec, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_object(spec)
    assert "\n" not in str(caught.value)
