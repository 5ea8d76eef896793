"""The two ends of every tokenizer: text that UTF-8 can write, and ids that the vocabulary holds."""

from collections.abc import Sequence

from torch import Tensor

from redrop.errors import UsageError


def as_ids(ids: Tensor | Sequence[int], vocab_size: int) -> list[int]:
    """Return token ids as a list of integers.

    Raises:
        UsageError: An id is outside 0 … vocab_size − 1.

    >>> as_ids((2, 0), vocab_size=3)
    [2, 0]
    """
    listed = [int(index) for index in (ids.tolist() if isinstance(ids, Tensor) else ids)]
    for index in listed:
        if not 0 <= index < vocab_size:
            raise UsageError(
                f"A token id must lie in 0 to {vocab_size - 1}; got {index}."
                " Decode with the tokenizer that encoded."
            )
    return listed


def utf8(text: str) -> bytes:
    """Return the text in UTF-8.

    Raises:
        UsageError: The text holds a lone surrogate; the command line makes them of bad bytes.

    >>> list(utf8("é"))
    [195, 169]
    """
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UsageError(
            f"The text must be writable in UTF-8; character {error.start} is"
            f" {text[error.start]!r}. Remove it."
        ) from error
