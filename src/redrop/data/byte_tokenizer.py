"""One id for each byte of the UTF-8 text: 256 ids, nothing to learn, nothing unknown."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from redrop.data.ids import as_ids, utf8


@dataclass(frozen=True)
class ByteTokenizer:
    """Ids are bytes.

    >>> ByteTokenizer().encode("aé").tolist()
    [97, 195, 169]
    >>> ByteTokenizer().decode([97, 195, 169])
    'aé'
    """

    @property
    def name(self) -> str:
        """The specification of this kind."""
        return "byte"

    @property
    def vocab_size(self) -> int:
        """Number of byte values."""
        return 256

    def encode(self, text: str) -> Tensor:
        """Return the bytes of the text in UTF-8.

        Raises:
            UsageError: The text holds a lone surrogate, which UTF-8 cannot write.
        """
        return torch.from_numpy(np.frombuffer(utf8(text), dtype=np.uint8).astype(np.int64))

    def decode(self, ids: Tensor | Sequence[int]) -> str:
        """Return the text; a broken UTF-8 sequence, which a network may write, reads U+FFFD.

        Raises:
            UsageError: An id is not a byte.
        """
        return bytes(as_ids(ids, self.vocab_size)).decode("utf-8", errors="replace")

    def to_json(self) -> str:
        """Return the kind as JSON."""
        return json.dumps({"kind": "byte"})
