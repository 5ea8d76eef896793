import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.data.reference import reference_text
from redrop.regularize.text.prose import is_prose, one_line, paragraphs, sentences, wrap_like

PROSE = st.text(alphabet="abC. !?\n\t(\"')é", max_size=60)


@given(text=PROSE)
def test_sentences_joined_are_the_paragraph(text):
    found = sentences(text)
    assert "".join(found) == text
    assert all(found)


@given(text=PROSE)
def test_paragraphs_hold_every_word_once_and_no_blank_line(text):
    found = paragraphs(text)
    assert " ".join(found).split() == text.split()
    assert all(line.strip() for each in found for line in each.split("\n"))


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("No end", 1),
        ("One. Two! Three? Four", 4),
        ('He said "go." Then he went.', 2),
        ("It is 3.5 long, e.g. this one.", 1),
        ("Wait ... then go.", 1),
        ("End.\nNext line begins.", 2),
        ("Das ist so. Übel ist es.", 2),
        ("Das ist z. übel.", 1),
        ("Это так. Но нет, т. е. да.", 2),
    ],
)
def test_sentences_end_where_one_would_say(text, count):
    assert len(sentences(text)) == count


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The cat sat down.", True),
        ('He said: "Don\'t go (yet)!"', True),
        ("Die Katze saß da.", True),
        ("Too short here", False),
        ("x = [0, 1]\ni = 0\ni, x[i] = 1, 2", False),
        ("Assert statements\n*****************", False),
        ("", False),
    ],
)
def test_running_text_is_told_from_the_rest(text, expected):
    assert is_prose(text) is expected


def test_most_of_the_reference_is_prose_and_its_code_is_not():
    found = paragraphs(reference_text()[:25_000])
    prose = [each for each in found if is_prose(each)]
    assert 0.6 < sum(map(len, prose)) / 25_000 < 0.95
    assert not any("::=" in each for each in prose)


@given(text=st.text(alphabet="ab \n", max_size=80), indent=st.integers(0, 4))
def test_a_wrapped_text_has_the_words_and_the_width_of_its_model(text, indent):
    model = "\n".join(" " * indent + line for line in ("short", "rather a longer line", "end"))
    wrapped = wrap_like(text, model)
    assert one_line(wrapped) == one_line(text)
    longest = max([len(model.splitlines()[1]), *(indent + len(word) for word in text.split())])
    assert all(len(line) <= longest for line in wrapped.splitlines())
    assert all(line.startswith(" " * indent) for line in wrapped.splitlines() if line.strip())


def test_a_model_of_one_line_gives_one_line():
    assert wrap_like("a b " * 30, "  short") == "  " + one_line("a b " * 30)
