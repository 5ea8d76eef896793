import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.data.text import read_text
from redrop.errors import UsageError


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@given(text=st.text().filter(lambda text: text.strip() and "\0" not in text))
def test_a_file_reads_as_written_but_for_newlines(
    tmp_path_factory: pytest.TempPathFactory, text: str
):
    path = write(tmp_path_factory.getbasetemp() / "any.txt", text)
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")

    if expected.strip():
        assert read_text(path) == expected


def test_byte_order_mark_and_foreign_newlines_go(tmp_path: Path):
    path = write(tmp_path / "dos.txt", b"\xef\xbb\xbfone\r\ntwo\rthree\n")

    assert read_text(path) == "one\ntwo\nthree\n"


def test_a_folder_is_read_in_sorted_order(tmp_path: Path):
    # "a-b" sorts before "a/b" as a string, after it as a path: the parts decide
    for name in ["b.txt", "a/z.txt", "a-b.txt", "B.txt", "a/b/c.txt", "é.txt"]:
        write(tmp_path / name, name)

    order = ["B.txt", "a/b/c.txt", "a/z.txt", "a-b.txt", "b.txt", "é.txt"]
    assert read_text(tmp_path) == "\n".join(f"{name}\n" for name in order)


def test_hidden_and_empty_files_of_a_folder_add_nothing(tmp_path: Path):
    write(tmp_path / "a.txt", "text\n")
    write(tmp_path / "empty.txt", "")
    write(tmp_path / ".hidden", b"\0")
    write(tmp_path / ".git/objects", b"\0")

    assert read_text(str(tmp_path)) == "text\n"


@pytest.mark.parametrize("content", [b"", b" \n\t\r\n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes):
    with pytest.raises(UsageError, match=r"file must hold text; '.*void\.txt' is empty"):
        read_text(write(tmp_path / "void.txt", content))


def test_an_empty_folder_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"folder must hold text; .* is empty"):
        read_text(tmp_path)


def test_a_missing_path_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match=r"'.*nowhere\.txt' does not exist\. Check the path"):
        read_text(tmp_path / "nowhere.txt")


def test_a_binary_file_is_named_with_the_place_of_the_nul(tmp_path: Path):
    write(tmp_path / "a.txt", "fine")
    write(tmp_path / "image.png", b"\x89PNG\0\0")

    with pytest.raises(UsageError, match=r"'.*image\.png' is binary \(NUL at byte offset 4\)"):
        read_text(tmp_path)


@pytest.mark.parametrize(("name", "advice"), [
    ("photo.webp", "Images are read as PNG or JPEG, from a folder with one subfolder per class"),
    ("data.bin", "Name the text itself, or move this file out"),
])  # fmt: skip
def test_a_binary_file_gets_advice_by_its_ending(tmp_path: Path, name: str, advice: str):
    with pytest.raises(UsageError, match=advice):
        read_text(write(tmp_path / name, b"RIFF\0"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_recognised(tmp_path: Path, encoding: str):
    content = ("\ufeff" if encoding == "utf-16-be" else "") + "text"

    with pytest.raises(UsageError, match=r"is UTF-16\. Convert it: iconv -f utf-16"):
        read_text(write(tmp_path / "windows.txt", content.encode(encoding)))


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_other_encodings_are_refused_with_the_offset_in_the_file(tmp_path: Path, mark: bytes):
    path = write(tmp_path / "old.txt", mark + "ab café".encode("latin1"))

    with pytest.raises(
        UsageError, match=rf"'.*old\.txt' has 0xE9 at byte offset {len(mark) + 6}\."
    ):
        read_text(path)


def test_half_a_character_at_the_end_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="0xC3 at byte offset 2"):
        read_text(write(tmp_path / "cut.txt", b"ab\xc3"))


def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(UsageError, match=r"'.*pipe' is a pipe or a device"):
        read_text(tmp_path / "pipe")
    with pytest.raises(UsageError, match=r"'.*pipe' is a pipe or a device"):
        read_text(tmp_path)


def test_a_path_through_a_file_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="cannot be read: Not a directory"):
        read_text(write(tmp_path / "a.txt", "text") / "b.txt")


def test_a_circle_of_links_is_refused(tmp_path: Path):
    (tmp_path / "circle").symlink_to(tmp_path / "circle")

    with pytest.raises(UsageError, match="cannot be read: Too many levels of symbolic links"):
        read_text(tmp_path / "circle")


def test_a_broken_link_in_a_folder_is_named(tmp_path: Path):
    write(tmp_path / "a.txt", "text")
    (tmp_path / "broken").symlink_to(tmp_path / "gone")

    with pytest.raises(UsageError, match=r"'.*broken' does not exist"):
        read_text(tmp_path)


def test_a_folder_behind_a_link_is_not_entered(tmp_path: Path):
    write(tmp_path / "folder/a.txt", "text")
    (tmp_path / "folder/again").symlink_to(tmp_path / "folder")

    assert read_text(tmp_path / "folder") == "text\n"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that anyone may enter; the test does not run as root, who may read everything."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        user = os.geteuid()
        yield Path(name)
        os.seteuid(user)
        for path in Path(name).iterdir():
            path.chmod(0o700)


def give_up_root() -> None:
    if os.geteuid() == 0:
        os.seteuid(65534)


@pytest.mark.parametrize("ask_for_the_folder", [False, True])
def test_a_file_without_rights_is_refused(open_folder: Path, ask_for_the_folder: bool):
    path = write(open_folder / "secret.txt", "text")
    path.chmod(0)
    give_up_root()

    with pytest.raises(UsageError, match=r"'.*secret\.txt' cannot be read: Permission denied"):
        read_text(open_folder if ask_for_the_folder else path)


def test_a_folder_inside_a_folder_without_rights_is_not_passed_over(open_folder: Path):
    write(open_folder / "a.txt", "text")
    write(open_folder / "secret/b.txt", "text").parent.chmod(0)
    give_up_root()

    with pytest.raises(UsageError, match=r"'.*/secret' cannot be read: Permission denied"):
        read_text(open_folder)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="needs Linux's /proc")
def test_a_file_that_fails_while_read_is_refused():
    with pytest.raises(UsageError, match="'/proc/self/mem' cannot be read: Input/output error"):
        read_text("/proc/self/mem")


def test_a_nul_in_the_name_is_refused():
    with pytest.raises(UsageError, match=r"got 'a\\x00b' \(embedded null byte\)"):
        read_text("a\0b")


def test_a_message_is_one_line_whatever_the_name(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        read_text(tmp_path / "two\nlines\udce9")

    assert "\n" not in str(caught.value)
    str(caught.value).encode()  # printable: no lone surrogate
