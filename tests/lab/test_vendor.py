"""Third-party files are what they say, small, and the page asks nobody else for anything."""

import gzip
import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest

from redrop.lab.linker import modules_from
from tests.lab.conftest import HERE, STATIC

FOLDERS = (STATIC / "vendor", HERE / "vendor")


@pytest.mark.parametrize("folder", FOLDERS, ids=["page", "tests"])
def test_vendored_files_have_version_licence_and_hash(folder: Path) -> None:
    entries = json.loads((folder / "VENDOR.json").read_text(encoding="utf-8"))
    listed = {entry["file"] for entry in entries} | {entry["licence_file"] for entry in entries}
    assert listed | {"VENDOR.json"} == {file.name for file in folder.iterdir()}
    for entry in entries:
        content = (folder / entry["file"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]
        assert entry["package"]
        assert entry["version"]
        assert entry["licence"] in ("MIT", "MPL-2.0")


def test_third_party_javascript_is_at_most_40_kilobytes() -> None:
    sizes = [len(gzip.compress(file.read_bytes(), 9)) for file in (STATIC / "vendor").glob("*.js")]
    assert sum(sizes) <= 40_000


def own_files() -> list[Path]:
    return sorted(file for kind in ("js", "css") for file in (STATIC / kind).rglob("*.*"))


@pytest.mark.parametrize("file", own_files(), ids=lambda file: file.name)
def test_own_files_are_short_and_import_in_one_form(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 400
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    if file.suffix != ".js":
        return
    subprocess.run(["node", "--check", str(file)], check=True)
    for line in text.splitlines():
        if re.match(r"\s*import\b|\s*export\b.*\bfrom\b *[\"']", line):
            assert re.fullmatch(r'import \{ .+ \} from "\.{1,2}/[\w./-]+\.js";', line), line
    assert "import(" not in text
    assert "export default" not in text
    assert "innerHTML" not in text


def test_every_module_is_asked_for_at_once() -> None:
    """The list in index.html saves the browser from finding the modules one by one."""
    index = (STATIC / "index.html").read_text(encoding="utf-8")
    listed = re.findall(r'rel="modulepreload" href="([^"]+)"', index)
    assert listed == [name for name in modules_from(STATIC, "js/app.js") if name != "js/app.js"]
