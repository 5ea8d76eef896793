"""Byte-level BPE, trained on the training part with Hugging Face `tokenizers` (extra `bpe`)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from types import ModuleType
from typing import Any, Self

import torch
from torch import Tensor

from redrop.data.ids import as_ids, utf8
from redrop.errors import UsageError

BYTES = 256


@dataclass(frozen=True)
class BPETokenizer:
    """Merges of frequent byte pairs; all 256 bytes are in the vocabulary, so nothing is unknown.

    Args:
        name: The specification, `bpe:N`. N is the largest vocabulary allowed: a short text may run
            out of pairs before.
        model: The trained tokenizer in the JSON of Hugging Face `tokenizers`.

    References:
        Sennrich, Haddow, Birch: Neural Machine Translation of Rare Words with Subword Units.
        ACL 2016. https://aclanthology.org/P16-1162
    """

    name: str
    model: str

    @classmethod
    def train(cls, text: str, vocab_size: int) -> Self:
        """Learn at most vocab_size − 256 merges from a text; the same text gives the same merges.

        Raises:
            UsageError: vocab_size leaves no room for a merge, or the package is missing.
        """
        if vocab_size <= BYTES:
            raise UsageError(
                f"bpe:N needs N of at least {BYTES + 1}, {BYTES} bytes and one merge; got"
                f" {vocab_size}. Pass bpe:1024, or `byte` for bytes alone."
            )
        hf = _package()
        trained = hf.Tokenizer(hf.models.BPE())
        trained.pre_tokenizer = hf.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trained.decoder = hf.decoders.ByteLevel()
        trainer = hf.trainers.BpeTrainer(
            vocab_size=vocab_size,
            show_progress=False,
            # without it, a byte unseen in training would vanish from held-out text without a trace
            initial_alphabet=sorted(hf.pre_tokenizers.ByteLevel.alphabet()),
        )
        utf8(text)  # the clear error here; the package's own names no place
        trained.train_from_iterator([text], trainer)
        return cls(f"bpe:{vocab_size}", trained.to_str())

    @property
    def vocab_size(self) -> int:
        """Number of tokens learned, the 256 bytes included."""
        return int(self._trained.get_vocab_size())

    def encode(self, text: str) -> Tensor:
        """Return the ids of the merged byte sequences.

        Raises:
            UsageError: The text holds a lone surrogate, or the package is missing.
        """
        utf8(text)
        return torch.tensor(self._trained.encode(text).ids, dtype=torch.int64)

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Return the text; a broken UTF-8 sequence, which a network may write, reads U+FFFD.

        Raises:
            UsageError: An id is outside the vocabulary, or the package is missing.
        """
        return str(self._trained.decode(as_ids(ids, self.vocab_size)))

    def to_json(self) -> str:
        """Return the name and the trained model as JSON."""
        return json.dumps({"kind": "bpe", "name": self.name, "model": self.model})

    @cached_property
    def _trained(self) -> Any:  # tokenizers.Tokenizer, of a package that need not be there
        return _package().Tokenizer.from_str(self.model)


def _package() -> ModuleType:
    """Import `tokenizers` with its parts, or say how to install it."""
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ModuleNotFoundError as error:
        if error.name != "tokenizers":
            raise  # the package is there and broken: its own message says more
        raise UsageError(
            "The tokenizer bpe:N needs the package `tokenizers`, which is not installed."
            " Run: pip install 'redrop[bpe]'"
        ) from error
    return tokenizers
