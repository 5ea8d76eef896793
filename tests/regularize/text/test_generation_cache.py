import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.regularize.text.generation_cache import FILE, GenerationCache, generation_key

TEXTS = st.text(max_size=20)


@given(entries=st.lists(st.tuples(TEXTS, TEXTS, TEXTS), max_size=8))
def test_what_was_added_is_there_for_the_next_reader(tmp_path_factory, entries):
    folder = tmp_path_factory.mktemp("cache") / "new"
    cache = GenerationCache(folder)
    cache.add(entries[:3])
    cache.add(entries[3:])
    read = GenerationCache(folder)
    for key, text in {key: text for key, _, text in entries}.items():
        assert key in read
        assert read[key] == cache[key] == text
    assert folder.exists() == bool(entries)


@given(cut=st.integers(0, 400))
def test_a_torn_file_keeps_its_whole_lines_and_takes_more(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("cache")
    GenerationCache(folder).add((f"key {i}", "source", "texté\n" * i) for i in range(4))
    file = folder / FILE
    content = file.read_bytes()[:cut]
    file.write_bytes(content)
    torn = GenerationCache(folder)
    assert [f"key {i}" in torn for i in range(4)] == [
        json.dumps({"key": f"key {i}", "source": "source", "text": "texté\n" * i}).encode()
        in content.split(b"\n")
        for i in range(4)
    ]
    torn.add([("new", "source", "text")])
    again = GenerationCache(folder)
    assert again["new"] == "text"
    assert all((f"key {i}" in again) == (f"key {i}" in torn) for i in range(4))


def test_no_folder_keeps_nothing_on_disk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cache = GenerationCache(None)
    cache.add([("key", "source", "text")])
    assert cache["key"] == "text"
    assert "other" not in cache
    assert list(tmp_path.iterdir()) == []


def test_the_file_can_be_read_by_a_person(tmp_path):
    GenerationCache(tmp_path).add([("key", "a sentence", "its text")])
    assert (
        tmp_path / FILE
    ).read_text() == '{"key": "key", "source": "a sentence", "text": "its text"}\n'


def test_another_file_is_not_taken_for_a_cache(tmp_path):
    (tmp_path / FILE).write_text("my notes\nof today\n")
    with pytest.raises(UsageError, match=f"{FILE}` has none. Name another folder, or remove"):
        GenerationCache(tmp_path)
    (tmp_path / FILE).write_text("torn before its first line was who")
    assert "key" not in GenerationCache(tmp_path)


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="A cache is a folder; .* is a file"):
        GenerationCache(tmp_path / "file")


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    cache = GenerationCache(tmp_path / "file" / "below")
    with pytest.raises(UsageError, match="cannot be written: .* was generated before is untouched"):
        cache.add([("key", "source", "text")])


def test_a_full_disk_is_told():
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    from redrop.regularize.text import generation_cache

    with pytest.raises(OSError, match="No space left"):
        generation_cache._append(Path("/dev/full"), b"x\n")


APPEND_MANY = """
import sys
from pathlib import Path
from redrop.regularize.text.generation_cache import GenerationCache
cache = GenerationCache(Path(sys.argv[1]))
for i in range(200):
    cache.add((f"{sys.argv[2]} {i} {j}", "source", "text" * 50) for j in range(3))
"""


def test_two_processes_may_append_at_once(tmp_path):
    GenerationCache(tmp_path).add([("first", "source", "text")])
    workers = [
        subprocess.Popen([sys.executable, "-c", APPEND_MANY, tmp_path, name]) for name in "ab"
    ]
    assert [worker.wait() for worker in workers] == [0, 0]
    read = GenerationCache(tmp_path)
    assert all(f"{name} {i} {j}" in read for name in "ab" for i in range(200) for j in range(3))
    lines = (tmp_path / FILE).read_bytes().split(b"\n")
    assert sum(map(bool, lines)) == 1 + 2 * 200 * 3  # not one of them torn


@given(parts=st.lists(st.integers() | TEXTS | st.none(), max_size=4), other=TEXTS)
def test_keys_differ_where_anything_does(parts, other):
    key = generation_key(*parts)
    assert key == generation_key(*parts)
    assert key != generation_key(*parts, other)
