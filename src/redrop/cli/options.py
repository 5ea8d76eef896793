"""Options that several commands share; knows no torch."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from redrop.models.config import DropoutRates, TransformerConfig


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Shape of the transformer.

    Args:
        width: Channels of the residual stream.
        layers: Number of blocks.
        heads: Attention heads; they divide the width.
        context: Tokens that the model reads in a row.
        norm: Normalise before each sub-layer (pre) or after the residual add (post).
    """

    width: int = 96
    layers: int = 2
    heads: int = 4
    context: int = 64
    norm: Literal["pre", "post"] = "pre"

    def config(self, vocab_size: int, dropout: DropoutRates | None = None) -> TransformerConfig:
        """Return the settings of the model for a vocabulary."""
        return TransformerConfig(
            vocab_size=vocab_size,
            width=self.width,
            layers=self.layers,
            heads=self.heads,
            context=self.context,
            norm=self.norm,
            dropout=dropout or DropoutRates(),
        )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How text becomes tokens.

    Args:
        tokenizer: char, byte, or bpe:1024 (trained on the training part; needs redrop[bpe]).
        limit: Use at most so many characters, from the beginning.
    """

    tokenizer: str = "char"
    limit: int | None = None


Json = Annotated[bool, Parameter(name="--json", negative=())]
"""Print one JSON document on standard output instead of text."""


def folder_name(corpus: str) -> str:
    """Return the name of a corpus as a part of a folder's name.

    >>> folder_name("my notes.txt"), folder_name("markov:16000")
    ('my-notes', 'markov-16000')
    """
    return re.sub(r"[^\w.-]+", "-", Path(corpus).stem).strip("-") or "text"
