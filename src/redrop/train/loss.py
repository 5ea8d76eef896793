"""What is minimised, and in which arithmetic it is computed."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def mean_loss(model: nn.Module, inputs: Tensor, targets: Tensor, precision: str) -> Tensor:
    """Return the cross-entropy of the next token, in nats, averaged over all targets.

    Args:
        model: From tokens (B, T) to logits (B, T, V).
        inputs: Tokens read, shape (B, T).
        targets: The token after each of them, shape (B, T).
        precision: "bfloat16" runs the model under autocast. Logits and loss are float32 always.
    """
    is_low = precision == "bfloat16"
    with torch.autocast(inputs.device.type, dtype=torch.bfloat16, enabled=is_low):
        logits = model(inputs)
    return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())
