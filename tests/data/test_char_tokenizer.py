import json
import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.data.char_tokenizer import UNKNOWN, CharTokenizer
from redrop.errors import UsageError


@given(text=st.text(), more=st.text())
def test_known_characters_return_and_others_become_unknown(text: str, more: str):
    tokenizer = CharTokenizer.train(text)
    expected = "".join(character if character in text else UNKNOWN for character in more)

    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert tokenizer.decode(tokenizer.encode(more)) == expected


@given(text=st.text())
def test_ids_fill_the_vocabulary_and_unknown_is_zero(text: str):
    tokenizer = CharTokenizer.train(text)
    ids = tokenizer.encode(text)

    assert ids.dtype == torch.int64
    assert ids.shape == (len(text),)
    assert set(ids.tolist()) | {0} == set(range(tokenizer.vocab_size))
    assert tokenizer.decode([0]) == UNKNOWN


def test_ids_follow_code_points_whatever_the_order_of_the_text():
    assert CharTokenizer.train("cab") == CharTokenizer.train("bca") == CharTokenizer("\ufffdabc")


def test_a_lone_surrogate_is_just_an_unknown_character():
    assert CharTokenizer.train("a").encode("\udce9a").tolist() == [0, 1]


def test_a_complete_alphabet_refuses_a_stranger():
    with pytest.raises(UsageError, match="only the characters 'abc'; got 'z'"):
        CharTokenizer("abc").encode("abzc")


@pytest.mark.parametrize("index", [-1, 3])
def test_an_id_outside_the_alphabet_is_refused(index: int):
    with pytest.raises(UsageError, match=f"must lie in 0 to 2; got {index}"):
        CharTokenizer("abc").decode([0, index])


def test_it_survives_pickling_and_says_its_kind():
    tokenizer = CharTokenizer.train("äöü")
    tokenizer.encode("warm the cache")

    assert pickle.loads(pickle.dumps(tokenizer)) == tokenizer
    assert tokenizer.name == "char"
    assert json.loads(tokenizer.to_json()) == {"kind": "char", "alphabet": "\ufffdäöü"}
