import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from redrop.data.ids import as_ids, utf8
from redrop.errors import UsageError


@given(st.lists(st.integers(0, 9)))
def test_lists_and_tensors_give_the_same_integers(ids: list[int]):
    assert as_ids(torch.tensor(ids, dtype=torch.int64), 10) == as_ids(ids, 10) == ids


@pytest.mark.parametrize("index", [-1, 10])
def test_an_id_outside_the_vocabulary_is_refused(index: int):
    with pytest.raises(UsageError, match=f"0 to 9; got {index}"):
        as_ids([3, index], 10)


@given(st.text())
def test_text_becomes_utf_8(text: str):
    assert utf8(text) == text.encode()
