import re
import sys
from pydoc_data.topics import topics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.data.reference import SHORTEST_REPEAT, first_occurrences, reference_text
from redrop.errors import UsageError

line = st.text(alphabet="abc ", min_size=1, max_size=70).filter(str.strip)
paragraphs = st.lists(line | st.sampled_from(["x" * 60, "y z " * 20]), max_size=20)


@given(paragraphs)
def test_what_is_left_holds_every_paragraph_and_no_long_one_twice(given_paragraphs: list[str]):
    left = list(first_occurrences(["\n\n".join(given_paragraphs)]))
    plain = [" ".join(paragraph.split()) for paragraph in left]

    assert set(plain) == {" ".join(text.split()) for text in given_paragraphs}
    long = [paragraph for paragraph in plain if len(paragraph) >= SHORTEST_REPEAT]
    assert len(long) == len(set(long))


@given(
    st.lists(line, max_size=20).map(
        lambda lines: [text[:40] for text in lines if text[:40].strip()]
    )
)
def test_short_paragraphs_all_stay_in_order(lines: list[str]):
    assert list(first_occurrences(lines)) == lines


def test_paragraphs_that_differ_in_spacing_only_are_the_same():
    paragraph = "word " * 20

    assert list(first_occurrences([paragraph, "   word\n      " + "word " * 19])) == [paragraph]


def test_the_reference_is_english_of_some_size_and_the_same_each_time():
    text = reference_text()

    assert len(text) > 300_000
    assert text == reference_text()
    assert text.startswith('The "assert" statement\n***')
    assert text == text.strip() + "\n"
    assert text.count(" the ") > 2000
    assert "\n\n\n" not in text


def test_what_the_topics_say_twice_is_said_once():
    sentence = 'The "while" statement is used for repeated execution'

    assert sum(topic.count(sentence) for topic in topics.values()) > 1
    assert reference_text().count(sentence) == 1


def test_little_of_the_held_out_text_stands_in_the_training_text():
    # 0.2 to 0.4 % in Python 3.11 to 3.13; 5 to 9 % if repeated paragraphs are left in. Words only:
    # the borders of tables repeat and say nothing.
    text = reference_text()
    cut = len(text) * 8 // 10
    train, held_out = (" ".join(re.findall(r"\w+", part)) for part in (text[:cut], text[cut:]))
    seen = {train[start : start + 50] for start in range(len(train) - 50)}
    starts = range(len(held_out) - 50)

    copied = sum(held_out[start : start + 50] in seen for start in starts)
    assert 0 < copied / len(starts) < 0.01


def test_a_python_without_the_module_is_told_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pydoc_data.topics", None)

    with pytest.raises(UsageError, match=r"lacks\. Install Python's full standard library"):
        reference_text()
