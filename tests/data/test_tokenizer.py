import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.data.tokenizer import build_tokenizer, tokenizer_from_json
from redrop.errors import UsageError

TRAIN = "It was the best of times, it was the worst of times. " * 5


@pytest.mark.parametrize("specification", ["char", "byte", "bpe:280"])
@settings(deadline=None, max_examples=30)
@given(text=st.text())
def test_a_stored_tokenizer_encodes_alike(specification: str, text: str):
    if specification.startswith("bpe"):
        pytest.importorskip("tokenizers", reason="the extra bpe is not installed")
    tokenizer = build_tokenizer(specification, TRAIN)
    back = tokenizer_from_json(tokenizer.to_json())

    assert back == tokenizer
    assert back.name == specification
    assert back.encode(text).tolist() == tokenizer.encode(text).tolist()


@pytest.mark.parametrize(
    "bad", ["", "word", "char:5", "bpe", "bpe:", "bpe:-3", "bpe:1k", "bpe:1000000", "BYTE"]
)
def test_an_unknown_specification_is_refused(bad: str):
    with pytest.raises(UsageError, match=f"must be char, byte, or bpe:N; got '{bad}'"):
        build_tokenizer(bad, TRAIN)


@pytest.mark.parametrize("bad", ["", "{", "[]", "{}", '{"kind": "char"}', "3"])
def test_json_of_something_else_is_refused(bad: str):
    with pytest.raises(UsageError, match="JSON that `to_json` wrote"):
        tokenizer_from_json(bad)


def test_an_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="of kind char, byte or bpe; got 'word'"):
        tokenizer_from_json('{"kind": "word"}')
