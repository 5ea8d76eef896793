"""What kind of site a place is: read from names, classes and widths; `other` where they say none.

A guess, for people and for setting rates by kind. Nothing but that depends on it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from torch import nn

import redrop.nn
from redrop.models.config import DropoutRates

OTHER: Final = "other"

_CLASSES: Final[tuple[tuple[type[nn.Module], str], ...]] = (
    (redrop.nn.AttentionDropout, "attention_weights"),
    (nn.MultiheadAttention, "attention_weights"),
    (redrop.nn.TokenDropout, "token_dropout"),
    (redrop.nn.DropHead, "drop_head"),
    (redrop.nn.DropPath, "drop_path"),
    (redrop.nn.LayerDrop, "layer_drop"),
)
_TORCHS: Final = {
    nn.TransformerEncoderLayer: {
        "dropout1": "attention_residual",
        "dropout": "feed_forward_hidden",
        "dropout2": "feed_forward_residual",
    },
    nn.TransformerDecoderLayer: {
        "dropout1": "attention_residual",
        "dropout2": "attention_residual",
        "dropout": "feed_forward_hidden",
        "dropout3": "feed_forward_residual",
    },
}
_ATTENTION = re.compile(r"att(n|en)", re.IGNORECASE)
_FEED_FORWARD = re.compile(r"mlp|ffn?(\d|$)|feed_?forward|intermediate|dense_?relu", re.IGNORECASE)
_FF_CLASS = re.compile(r"mlp|ffn?$|feed_?forward|intermediate|dense(relu|act|gated)", re.IGNORECASE)
_WEIGHTS = re.compile(r"^(attn|att|attention)_(weights_|probs_)?drop|weights|probs")
_RESIDUAL = re.compile(r"resid|proj|^out")
_AFTER: Final = (
    (re.compile(r"post_att"), "attention_residual"),
    (re.compile(r"post_(mlp|ffn?|feed_forward)"), "feed_forward_residual"),
)
_EMBEDDING = re.compile(r"emb|^pos_?drop")


@dataclass(frozen=True, slots=True)
class Place:
    """What is known of a site.

    Args:
        name: Of the site.
        site: Its layer.
        parent: The module that calls it, where known.
        shape: Of what is dropped; None for a site that was not called, or with several shapes.
        width: Last size of what the parent reads.
        comes_first: It is called before any site within a numbered block, and once.
    """

    name: str
    site: nn.Module
    parent: nn.Module | None = None
    shape: tuple[int, ...] | None = None
    width: int | None = None
    comes_first: bool = False


def guess_kind(place: Place) -> str:
    """Return the kind of a site, one of `DropoutRates.kinds()` or "other".

    >>> guess_kind(Place("blocks.0.attn.resid_drop", redrop.nn.Dropout()))
    'attention_residual'
    >>> guess_kind(Place("net.3", redrop.nn.Dropout()))
    'other'
    """
    for of_class, kind in _CLASSES:
        if isinstance(place.site, of_class):
            return kind
    path, _, function = place.name.partition(":")
    *around, leaf = path.split(".") if not function else (*path.split("."), "")
    for kind in DropoutRates.kinds():
        if kind in leaf:
            return kind
    for of_class, leaves in _TORCHS.items():
        if isinstance(place.parent, of_class) and leaf in leaves:
            return leaves[leaf]
    if _EMBEDDING.search(leaf) or (around and _EMBEDDING.search(around[-1])):
        return "embedding"
    return _by_surroundings(place, around, leaf)


def _by_surroundings(place: Place, around: list[str], leaf: str) -> str:
    inner = type(place.parent).__name__ if place.parent is not None else ""
    if _WEIGHTS.search(leaf):
        return "attention_weights"
    for pattern, kind in _AFTER:
        if pattern.search(leaf):
            return kind
    for part in (inner, *reversed(around)):
        if _ATTENTION.search(part):
            return _in_attention(place, around, leaf)
        if (_FF_CLASS if part is inner else _FEED_FORWARD).search(part):
            return _in_feed_forward(place, leaf)
    is_after_block = len(around) >= 2 and around[-1] == "output" and around[-2].isdigit()
    if is_after_block:  # BERT and its kin: block.output follows block.intermediate
        return "feed_forward_residual"
    if place.comes_first and place.shape is not None and len(place.shape) == 3:
        return "embedding"
    return OTHER


def _in_attention(place: Place, around: list[str], leaf: str) -> str:
    if place.shape is not None and len(place.shape) >= 4:
        return "attention_weights"
    if _RESIDUAL.search(leaf) or "output" in around:
        return "attention_residual"
    if around and around[-1] == "self":  # BERT and its kin: attention.self beside attention.output
        return "attention_weights"
    if place.shape is not None and place.shape[-1] == place.width:
        return "attention_residual"
    return OTHER


def _in_feed_forward(place: Place, leaf: str) -> str:
    if "hidden" in leaf:
        return "feed_forward_hidden"
    if _RESIDUAL.search(leaf):
        return "feed_forward_residual"
    if place.shape is None or place.width is None:
        return OTHER
    return "feed_forward_residual" if place.shape[-1] == place.width else "feed_forward_hidden"
