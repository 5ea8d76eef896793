import errno
import os
from pathlib import Path

import pytest

from redrop.disk import write_atomically
from redrop.errors import UsageError


def test_who_reads_while_a_file_is_replaced_keeps_the_old_text(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", "old")
    with (tmp_path / "a.json").open() as reader:
        write_atomically(tmp_path / "a.json", "new and longer")
        assert reader.read() == "old"


def test_write_atomically_replaces_and_leaves_no_scrap(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.json", "old")
    write_atomically(tmp_path / "a.json", "± new\n")
    assert (tmp_path / "a.json").read_bytes() == "± new\n".encode()
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_write_atomically_keeps_the_old_file_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_atomically(tmp_path / "a.json", "old")

    def refuse(file: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UsageError, match="What was there before is untouched"):
        write_atomically(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]
