from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.regularize.text.thesaurus import STOP_WORDS, Thesaurus, read_thesaurus

WORDS = st.text(alphabet="abcde", min_size=1, max_size=4)


def test_the_built_in_list_is_sound():
    thesaurus = read_thesaurus()
    assert len(thesaurus.entries) > 1500
    for word, synonyms in thesaurus.entries.items():
        assert word == word.lower()
        assert word not in synonyms
        assert len(set(synonyms)) == len(synonyms) > 0
        # sets: what stands for a word is stood for by it
        assert all(word in thesaurus.entries[each] for each in synonyms)
        assert all(each.isascii() and each.isalpha() for each in (word, *synonyms))


@given(entries=st.dictionaries(WORDS, st.lists(WORDS, min_size=1, max_size=4), max_size=5))
def test_a_simple_file_says_what_was_written(tmp_path_factory, entries):
    path = tmp_path_factory.getbasetemp() / "words.txt"
    lines = [
        "# mine",
        "",
        *(f" {word} : {' , '.join(said)} # note" for word, said in entries.items()),
    ]
    path.write_text("\n".join([*lines, "one, two"]), encoding="utf-8")
    read = read_thesaurus(path).entries
    expected = {
        word: tuple(dict.fromkeys(each for each in said if each != word))
        for word, said in entries.items()
    }
    expected |= {"one": ("two",), "two": ("one",)}
    assert read == {word: said for word, said in expected.items() if said}


def test_a_mythes_file_gives_the_synonyms_of_all_meanings(tmp_path):
    path = tmp_path / "th_xx.dat"
    text = (
        "ISO8859-1\nbig|2\n(adj)|large|great (similar term)|small (antonym)\n"
        "(adj)|adult|large|grown-up\nétat|1\n-|gouvernement (terme générique)|pays\nlone|1\n(n)|\n"
    )
    path.write_text(text, encoding="latin-1")
    assert read_thesaurus(path).entries == {
        "big": ("large", "adult", "grown-up"),
        "état": ("pays",),
    }


@pytest.mark.parametrize("word", ["Big", "BIG", "big"])
def test_capitals_do_not_matter_and_stop_words_have_none(word):
    thesaurus = Thesaurus({"big": ("large",), "in": ("inch",)})
    assert thesaurus.synonyms(word) == ("large",)
    assert "in" in STOP_WORDS
    assert thesaurus.synonyms("In") == ()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"word: a, , b", "line 1 of .* is 'word: a, , b'. Correct it"),
        ("a.txt", b"one, two\nalone", "line 2 of .* is 'alone'"),
        ("a.txt", b": a", "line 1 of .* is ': a'"),
        ("a.txt", b"word:", "line 1 of .* is 'word:'"),
        ("a.txt", b"# nothing", "needs at least one word with a synonym; .* has none"),
        ("a.txt", b"caf\xe9: bar", "must be in the encoding utf-8; .* has 0xE9 at byte offset 3"),
        ("a.dat", b"nothing known\nbig|1\n", "begins with the name of its encoding; .*'nothing kn"),
        ("a.dat", b"UTF-8\nbig\n", "begins with `word|number`; line 2 of .* is 'big'. Is the file"),
        ("a.dat", b"UTF-8\nbig|x\n", "line 2 of .* is 'big.x'"),
        ("a.dat", b"UTF-8\n", "needs at least one word with a synonym"),
        ("a.dat", b"", "begins with the name of its encoding"),
    ],
)
def test_a_file_out_of_format_is_told_where(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message):
        read_thesaurus(tmp_path / name)


def test_a_missing_file_is_told(tmp_path: Path):
    with pytest.raises(UsageError, match=r"no\.txt' cannot be read: No such file.*'built-in'"):
        read_thesaurus(tmp_path / "no.txt")
