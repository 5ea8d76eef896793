"""One id for each character of the training text."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from redrop.data.ids import as_ids
from redrop.errors import UsageError

UNKNOWN = "\ufffd"
"""U+FFFD, the replacement character: stands for every character unseen in training."""


@dataclass(frozen=True)
class CharTokenizer:
    """Ids are positions in the alphabet.

    A character outside the alphabet becomes U+FFFD where the alphabet holds it, as every alphabet
    made by `train` does, with id 0. The alphabet of a generated language is complete and has no
    U+FFFD; there, a strange character is an error.

    Args:
        alphabet: The characters, each once, in the order of their ids.

    >>> tokenizer = CharTokenizer.train("banana")
    >>> tokenizer.encode("nab!").tolist()
    [3, 1, 2, 0]
    >>> tokenizer.decode([3, 1, 2, 0])
    'nab\ufffd'
    """

    alphabet: str

    @classmethod
    def train(cls, text: str) -> Self:
        """Take the alphabet from a text: U+FFFD first, then by code point."""
        return cls(UNKNOWN + "".join(sorted(set(text) - {UNKNOWN})))

    @property
    def name(self) -> str:
        """The specification of this kind."""
        return "char"

    @property
    def vocab_size(self) -> int:
        """Number of characters, the unknown one included."""
        return len(self.alphabet)

    def encode(self, text: str) -> Tensor:
        """Return one id a character.

        Raises:
            UsageError: A character is not in an alphabet without U+FFFD.
        """
        codes = _codes(text)
        known, ids = self._lookup
        place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
        is_known = known[place] == codes
        found = ids[place]
        if not is_known.all():
            found = np.where(is_known, found, self._unknown_id(text, is_known))
        return torch.from_numpy(found)

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Return the characters of the ids; an unknown one reads U+FFFD.

        Raises:
            UsageError: An id is outside the alphabet.
        """
        return "".join(self.alphabet[index] for index in as_ids(ids, self.vocab_size))

    def to_json(self) -> str:
        """Return the alphabet as JSON."""
        return json.dumps({"kind": "char", "alphabet": self.alphabet})

    @cached_property
    def _lookup(self) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
        """Sorted code points and the id of each."""
        codes = _codes(self.alphabet)
        order = np.argsort(codes, kind="stable")
        return codes[order], order.astype(np.int64)

    def _unknown_id(self, text: str, is_known: NDArray[np.bool_]) -> int:
        if UNKNOWN in self.alphabet:
            return self.alphabet.index(UNKNOWN)
        stranger = text[int(np.argmin(is_known))]
        raise UsageError(
            f"The text may hold only the characters {self.alphabet!r}; got {stranger!r}."
            " Use the characters of this language."
        )


def _codes(text: str) -> NDArray[np.uint32]:
    """Code points of a text; lone surrogates, as in undecodable arguments, count as characters."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint32)
