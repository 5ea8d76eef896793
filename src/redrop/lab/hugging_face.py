"""The attention of a causal language model in a Hugging Face folder; needs transformers.

The weights are taken, and connections severed or dropped, by an attention function of our own that
transformers calls in place of its own: softmax(q·kᵀ · scale) over the past, then what the page asks
for, then the product with v. Nothing is downloaded: the folder holds configuration, tokenizer and
weights.
"""

import base64
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from redrop.errors import UsageError
from redrop.lab.look import Drop, Link
from redrop.mask import Window, mask_key, scale, threshold
from redrop.mask.reference import keep_mask

MOST_TOKENS = 64
SHOWN_WORDS = 8
NAME = "redrop_lab"

Change = Callable[[int, Tensor], Tensor]


class HuggingFaceModel:
    """A model of a local folder, in eval mode.

    Args:
        folder: With `config.json`, a tokenizer and weights.

    Raises:
        UsageError: transformers is missing, or the folder holds no causal language model.
    """

    def __init__(self, folder: Path) -> None:
        try:
            transformers: Any = import_module("transformers")  # by name: it is optional
        except ModuleNotFoundError as error:
            raise UsageError(
                f"A Hugging Face model needs {error.name}. Run `pip install transformers`."
            ) from error
        transformers.AttentionInterface.register(NAME, self._attend)
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                folder, local_files_only=True
            )
            self._model = transformers.AutoModelForCausalLM.from_pretrained(
                folder, local_files_only=True, attn_implementation=NAME, dtype=torch.float32
            ).eval()
        except (OSError, ValueError) as error:
            raise UsageError(
                f"A folder with a causal language model is needed; `{folder}` is none: "
                f"{str(error).splitlines()[0]}"
            ) from error
        self.folder = folder
        self._lock = threading.Lock()  # one look at a time: the hook below belongs to it
        self._weights: dict[int, Tensor] = {}
        self._change: Change | None = None
        self.sites = _sites(self._model)

    def describe(self) -> dict[str, Any]:
        """Return the entry of the page's list of models."""
        config = self._model.config
        about = {
            "config": {
                "layers": config.num_hidden_layers,
                "heads": config.num_attention_heads,
                "context": MOST_TOKENS,
            },
            "sites": self.sites,
            "remote": True,
        }
        name = f"hf:{self.folder.name[:60]}"
        return {"name": name, "title": f"Hugging Face: {self.folder.name}", "about": about}

    def look(self, text: str, row: int, links: Sequence[Link], drop: Drop | None) -> dict[str, Any]:
        """Return the weights of a text, and what comes after the token `row` (-1 the last).

        Weights are 16-bit fixed point, w · 65535, (layer, head, query, key) in base64.
        """
        ids = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        cropped = ids[:MOST_TOKENS]
        if not cropped:
            return {"labels": [], "is_cropped": False}
        row = row if 0 <= row < len(cropped) else len(cropped) - 1
        with self._lock:
            odds = {"intact": self._odds(cropped, row, None)}
            stacked = torch.stack([self._weights[layer][0] for layer in sorted(self._weights)])
            if drop is not None:
                odds["dropped"] = self._odds(cropped, row, self._dropper(drop))
            if links:
                odds["severed"] = self._odds(cropped, row, _cutter(links))
        best = sorted({int(i) for each in odds.values() for i in each.topk(5).indices})
        best = sorted(best, key=lambda index: -float(odds["intact"][index]))[:SHOWN_WORDS]
        fixed = (stacked * 65535).round().to(torch.int32).numpy().astype("<u2")
        return {
            "labels": [self._label(index) for index in cropped],
            "is_cropped": len(ids) > MOST_TOKENS,
            "weights": base64.b64encode(fixed.tobytes()).decode("ascii"),
            "row": row,
            "words": [self._label(index) for index in best],
            "odds": {name: [float(each[index]) for index in best] for name, each in odds.items()},
        }

    def _odds(self, ids: list[int], row: int, change: Change | None) -> Tensor:
        self._weights.clear()
        self._change = change
        with torch.no_grad():
            logits: Tensor = self._model(torch.tensor([ids]), use_cache=False).logits
        return logits[0, row].float().softmax(-1)

    def _label(self, index: int) -> str:
        return str(self._tokenizer.decode([index])).replace(" ", "␣").replace("\n", "↵")

    def _dropper(self, drop: Drop) -> Change:
        def change(layer: int, weights: Tensor) -> Tensor:
            shape = tuple(weights.shape)
            key = mask_key(drop.seed, drop.step, self.sites[layer])
            window = Window((drop.sample + 1, *shape[1:]), (drop.sample, 0, 0, 0))
            keep = torch.from_numpy(keep_mask(key, drop.p, shape, window=window))
            return torch.where(keep, weights * scale(threshold(drop.p)), 0.0)

        return change

    def _attend(
        self,
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        scaling: float | None = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        """Be the attention function that transformers calls; (batch, head, token, channel) in."""
        groups = query.shape[1] // key.shape[1]
        key, value = (x.repeat_interleave(groups, dim=1) for x in (key, value))
        scores = query @ key.mT * (query.shape[-1] ** -0.5 if scaling is None else scaling)
        if attention_mask is not None and attention_mask.dtype != torch.bool:
            scores = scores + attention_mask[..., : scores.shape[-1]]
        is_future = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1)
        weights = scores.masked_fill(is_future, -torch.inf).softmax(-1)
        layer = int(module.layer_idx)  # type: ignore[arg-type]
        self._weights[layer] = weights
        changed = weights if self._change is None else self._change(layer, weights)
        return (changed @ value).transpose(1, 2).contiguous(), weights


def _cutter(links: Sequence[Link]) -> Change:
    def change(layer: int, weights: Tensor) -> Tensor:
        cut = weights.clone()
        for at, head, query, key in links:
            if at == layer and head < cut.shape[1] and query < cut.shape[2] and key <= query:
                cut[0, head, query, key] = 0.0
        return cut

    return change


def _sites(model: nn.Module) -> list[str]:
    """Return the name of each layer's site of attention dropout.

    It is the dropout layer of the attention module where there is one (GPT-2 has `attn_dropout`),
    otherwise that module's own name and `weights`, as in `redrop.models`.
    """
    names = {}
    for name, module in model.named_modules():
        layer = getattr(module, "layer_idx", None)
        if isinstance(layer, int) and layer not in names:
            inner = [child for child, _ in module.named_children() if "attn_dropout" in child]
            names[layer] = f"{name}.{inner[0] if inner else 'weights'}"
    return [names[layer] for layer in sorted(names)]


def as_numpy(weights: str, layers: int, heads: int, length: int) -> "np.ndarray[Any, Any]":
    """Read the weights of `look` again, (layer, head, query, key)."""
    fixed = np.frombuffer(base64.b64decode(weights), dtype="<u2")
    return fixed.reshape(layers, heads, length, length) / 65535
