"""What a tokenizer is, how one is made from training text, and how one comes back from JSON."""

import json
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from redrop.data.bpe_tokenizer import BPETokenizer
from redrop.data.byte_tokenizer import ByteTokenizer
from redrop.data.char_tokenizer import CharTokenizer
from redrop.errors import UsageError

MOST_DIGITS = 6
"""Of N in bpe:N; a larger vocabulary than 999,999 is a typing error."""


class Tokenizer(Protocol):
    """Text to ids and back; ids run from 0 to vocab_size − 1."""

    @property
    def name(self) -> str:
        """The specification that makes this kind again: `char`, `byte`, `bpe:1024`."""

    @property
    def vocab_size(self) -> int:
        """Number of different ids."""

    def encode(self, text: str) -> Tensor:
        """Return the ids of a text, int64, one dimension."""

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Return the text of some ids."""

    def to_json(self) -> str:
        """Return everything `tokenizer_from_json` needs; a checkpoint carries it."""


def build_tokenizer(specification: str, train_text: str) -> Tokenizer:
    """Make a tokenizer whose vocabulary comes from the training text only.

    Args:
        specification: `char`, `byte`, or `bpe:N` for byte-level BPE with at most N tokens.
        train_text: The training part. Held-out text must not be in it: its characters would be
            known to the network before it meets them.

    Raises:
        UsageError: The specification is unknown, or `bpe` is asked for and not installed.

    >>> build_tokenizer("char", "hello").vocab_size  # e, h, l, o and the unknown character
    5
    >>> build_tokenizer("byte", "hello").encode("é").tolist()
    [195, 169]
    """
    kind, _, size = specification.partition(":")
    if specification == "char":
        return CharTokenizer.train(train_text)
    if specification == "byte":
        return ByteTokenizer()
    if kind == "bpe" and size.isascii() and size.isdigit() and len(size) <= MOST_DIGITS:
        return BPETokenizer.train(train_text, int(size))
    raise UsageError(
        f"`tokenizer` must be char, byte, or bpe:N; got {specification!r}."
        " Pass bpe:1024 for a vocabulary of 1024 tokens."
    )


def tokenizer_from_json(text: str) -> Tokenizer:
    """Return the tokenizer that `to_json` wrote.

    Raises:
        UsageError: The text is not what a tokenizer's `to_json` writes.

    >>> tokenizer = build_tokenizer("char", "hello")
    >>> tokenizer_from_json(tokenizer.to_json()) == tokenizer
    True
    """
    try:
        fields = json.loads(text)
        kind = fields["kind"]
        if kind == "char":
            return CharTokenizer(fields["alphabet"])
        if kind == "byte":
            return ByteTokenizer()
        if kind == "bpe":
            return BPETokenizer(fields["name"], fields["model"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UsageError(
            f"A tokenizer is read from the JSON that `to_json` wrote; got {text[:60]!r}."
            " Take it from an unbroken checkpoint."
        ) from error
    raise UsageError(
        f"A stored tokenizer is of kind char, byte or bpe; got {kind!r}."
        " Was the checkpoint written by a newer redrop?"
    )
