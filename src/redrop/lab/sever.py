"""Change a model's attention weights by hand: cut connections, and see what it does."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor

from redrop.models.attention import Attention, causal_weights
from redrop.models.mode import eval_mode
from redrop.models.transformer import Transformer

Change = Callable[[int, Tensor], Tensor]
"""From a layer and its weights (batch, head, query, key) after the softmax to what is used."""


@contextmanager
def severing(model: Transformer, change: Change) -> Iterator[None]:
    """Let the model run in eval mode with `change` applied to the weights of every layer.

    The model's own attention never holds its weights as a whole, so another forward, with the same
    parameters, stands in for it within the block.
    """
    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    with eval_mode(model):
        for layer, attention in enumerate(attentions):
            _replace_forward(attention, layer, change)
        try:
            yield
        finally:
            for attention in attentions:
                del attention.__dict__["forward"]


def _replace_forward(attention: Attention, layer: int, change: Change) -> None:
    def forward(x: Tensor) -> Tensor:
        qkv = attention.qkv(x).unflatten(2, (3, attention.heads, -1))
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        weights = change(layer, causal_weights(query, key))
        out: Tensor = attention.output((weights @ value).transpose(1, 2).flatten(2))
        return out

    attention.forward = forward  # type: ignore[method-assign]
