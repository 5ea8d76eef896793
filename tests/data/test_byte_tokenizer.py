import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.data.byte_tokenizer import ByteTokenizer
from redrop.errors import UsageError


@given(text=st.text())
def test_ids_are_the_bytes_of_the_text(text: str):
    ids = ByteTokenizer().encode(text)

    assert ids.dtype == torch.int64
    assert ids.tolist() == list(text.encode())
    assert ByteTokenizer().decode(ids) == text


def test_a_broken_sequence_reads_as_the_replacement_character():
    assert ByteTokenizer().decode([0xC3, 0x61]) == "\ufffda"


def test_the_vocabulary_is_every_byte():
    assert ByteTokenizer().vocab_size == 256
    assert ByteTokenizer().name == "byte"


def test_an_id_above_a_byte_is_refused():
    with pytest.raises(UsageError, match="0 to 255; got 256"):
        ByteTokenizer().decode([256])


def test_a_lone_surrogate_is_refused_with_its_place():
    with pytest.raises(UsageError, match=r"character 1 is '\\udce9'\. Remove it"):
        ByteTokenizer().encode("a\udce9")
