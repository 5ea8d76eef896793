"""The loss on given windows, with dropout off."""

from collections.abc import Sequence

from torch import Tensor, nn

from redrop.data.batch import eval_batches
from redrop.models.mode import eval_mode
from redrop.train.loss import mean_loss

ROWS = 32
"""Windows evaluated at a time."""

Windows = Sequence[tuple[Tensor, Tensor]]
"""(inputs, targets) pairs, each (rows, context)."""


def fixed_windows(tokens: Tensor, context: int, limit: int) -> Windows:
    """Return at most `limit` targets of the tokens in windows that are the same at every call.

    Raises:
        UsageError: There are fewer than context + 1 tokens.
    """
    return list(eval_batches(tokens, context, ROWS, limit))


def evaluate(model: nn.Module, windows: Windows, precision: str = "float32") -> float:
    """Return the mean loss in nats per token; the model runs in eval mode and has its mode back.

    Measured in bfloat16, the loss of a trained model differs by about 1e-4 nats from float32.

    >>> import torch
    >>> from redrop.models.config import TransformerConfig
    >>> from redrop.models.transformer import Transformer
    >>> model = Transformer(TransformerConfig(vocab_size=7, context=4))
    >>> loss = evaluate(model, fixed_windows(torch.arange(50) % 7, context=4, limit=40))
    >>> abs(loss - 1.95) < 0.1  # ln 7: nothing is learned yet
    True
    """
    total, count = 0.0, 0
    with eval_mode(model):
        for inputs, targets in windows:
            loss = mean_loss(model, inputs, targets, precision)
            total += loss.item() * targets.numel()
            count += targets.numel()
    return total / count
