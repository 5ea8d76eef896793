"""The functions that drop, what their arguments mean, and which layer stands at their place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor

import redrop.nn
from redrop.mask.threshold import ONE
from redrop.mask.window import Window
from redrop.nn.attend import attend
from redrop.nn.keyed_dropout import KeyedDropout
from redrop.ops.dropout import dropout


@dataclass(frozen=True, slots=True)
class Function:
    """One function of torch's that drops.

    Args:
        name: In the names of sites.
        arguments: In their order.
        layer: Class of the site that stands for a call.
        training: Value of `training` where the caller leaves it out.
        is_inplace: The function writes into its input by definition.
    """

    name: str
    arguments: tuple[str, ...]
    layer: type[redrop.nn.SiteModule]
    training: bool = True
    is_inplace: bool = False


@dataclass(slots=True)
class Call:
    """One call of such a function.

    Args:
        function: Which.
        original: The function itself.
        arguments: By name.
    """

    function: Function
    original: Callable[..., Tensor]
    arguments: dict[str, Any]

    @property
    def p(self) -> float:
        """The rate that the caller asks for; 0 where it is so small that nothing is dropped."""
        p = float(self.arguments.get(self._rate, 0.0 if self.is_attention else 0.5))
        return 0.0 if 0.0 < p < 1.0 / ONE else p

    @property
    def _rate(self) -> str:
        return "dropout_p" if self.is_attention else "p"

    @property
    def is_training(self) -> bool:
        """Whether the caller asks for dropout to act; attention has no such argument."""
        name = "train" if "train" in self.function.arguments else "training"
        return bool(self.arguments.get(name, self.function.training))

    @property
    def is_attention(self) -> bool:
        """Whether it is attention."""
        return self.function is ATTENTION

    @property
    def shape(self) -> tuple[int, ...]:
        """Of what is dropped: of the input, or of the attention weights (…, H, T, S)."""
        if not self.is_attention:
            return tuple(self.arguments["input"].shape)
        query, key = self.arguments["query"], self.arguments["key"]
        lead = tuple(query.shape[:-2])
        if not self.arguments.get("enable_gqa", False):
            lead = tuple(torch.broadcast_shapes(lead, key.shape[:-2]))
        return (*lead, query.shape[-2], key.shape[-2])

    def without_dropout(self) -> Tensor:
        """Return what torch's function gives at p = 0."""
        if self.p == 0.0 or not self.is_training:
            return self.original(**self.arguments)
        return self.original(**{**self.arguments, self._rate: 0.0})

    def drop(self, site: redrop.nn.SiteModule) -> Tensor:
        """Return what the function gives, with the next mask of a site at the site's rate."""
        if self.is_attention:
            return _attend(self, site)
        x: Tensor = self.arguments["input"]
        inplace = self.function.is_inplace or bool(self.arguments.get("inplace", False))
        if isinstance(site, KeyedDropout):
            site.inplace = inplace
            return site.drop(x)
        mask = site.next_mask()
        return dropout(x, mask.key, site.p, window=mask.window(x.shape), inplace=inplace)


def _attend(call: Call, site: redrop.nn.SiteModule) -> Tensor:
    given = call.arguments
    mask = site.next_mask()
    return attend(
        *(given["query"], given["key"], given["value"], given.get("attn_mask"), site.p),
        *(given.get("is_causal", False), given.get("scale"), given.get("enable_gqa", False)),
        mask_key=mask.key,
        window=_four_dims(mask.window(torch.Size(call.shape))),
    )


def _four_dims(window: Window | None) -> Window | None:
    """Return the window of weights (…, H, T, S) as one of (B, H, T, S): leading dimensions join.

    >>> _four_dims(Window((4, 2, 3, 5, 5), (2, 0, 0, 0, 0)))
    Window(sizes=(8, 3, 5, 5), offset=(4, 0, 0, 0))
    """
    if window is None:
        return None
    sizes, offset = window.sizes, window.offset
    if len(sizes) < 4:
        missing = 4 - len(sizes)
        return Window((*(1,) * missing, *sizes), (*(0,) * missing, *offset))
    joined = 1
    for size in sizes[1:-3]:
        joined *= size
    return Window((sizes[0] * joined, *sizes[-3:]), (offset[0] * joined, *offset[-3:]))


ATTENTION: Final = Function(
    "scaled_dot_product_attention",
    ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa"),
    redrop.nn.AttentionDropout,
)
_WITH_MODE = ("input", "p", "training", "inplace")
_PLAIN = ("input", "p", "train")

FUNCTIONS: Final[dict[Callable[..., Any], Function]] = {
    F.dropout: Function("dropout", _WITH_MODE, redrop.nn.Dropout),
    F.dropout1d: Function("dropout1d", _WITH_MODE, redrop.nn.Dropout1d),
    F.dropout2d: Function("dropout2d", _WITH_MODE, redrop.nn.Dropout2d),
    F.dropout3d: Function("dropout3d", _WITH_MODE, redrop.nn.Dropout3d),
    F.alpha_dropout: Function("alpha_dropout", _WITH_MODE, redrop.nn.AlphaDropout, training=False),
    F.feature_alpha_dropout: Function(
        "feature_alpha_dropout", _WITH_MODE, redrop.nn.FeatureAlphaDropout, training=False
    ),
    torch.dropout: Function("dropout", _PLAIN, redrop.nn.Dropout),
    torch.dropout_: Function("dropout", _PLAIN, redrop.nn.Dropout, is_inplace=True),
    torch.alpha_dropout: Function("alpha_dropout", _PLAIN, redrop.nn.AlphaDropout),
    torch.alpha_dropout_: Function(
        "alpha_dropout", _PLAIN, redrop.nn.AlphaDropout, is_inplace=True
    ),
    torch.feature_alpha_dropout: Function(
        "feature_alpha_dropout", _PLAIN, redrop.nn.FeatureAlphaDropout
    ),
    torch.feature_alpha_dropout_: Function(
        "feature_alpha_dropout", _PLAIN, redrop.nn.FeatureAlphaDropout, is_inplace=True
    ),
    F.scaled_dot_product_attention: ATTENTION,
}
"""What a converted model replaces. Of torch's other functions none drops but those that call one of
these (`multi_head_attention_forward`), and those that nobody can take apart (recurrent kernels)."""


def parse(
    original: Callable[..., Tensor], args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Call | None:
    """Return the call if the function is one that drops."""
    function = FUNCTIONS.get(original)
    if function is None:
        return None
    named = dict(zip(function.arguments, args, strict=False))
    return Call(function, original, {**named, **kwargs})
