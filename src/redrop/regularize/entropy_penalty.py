"""The confidence penalty: outputs that are too sure cost something."""

import torch
from torch import Tensor


def mean_entropy(logits: Tensor) -> Tensor:
    """Return H = -Σ p log p of p = softmax(logits), in nats, averaged over all positions.

    A class without probability (logit -inf) adds 0, as p log p does in the limit.

    Args:
        logits: Of shape (…, classes). What is narrower than float32 is widened first.

    Returns:
        A 0-d tensor between 0 and log(classes).

    References:
        Shannon: A Mathematical Theory of Communication, 1948.

    >>> round(mean_entropy(torch.zeros(3, 2)).item(), 4)  # log 2
    0.6931
    """
    log_p = torch.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), -1)
    # Filled before the product, because 0 · inf is NaN in the gradient too.
    return -(log_p.exp() * log_p.masked_fill(log_p == -torch.inf, 0.0)).sum(-1).mean()


def confidence_penalty_loss(loss: Tensor, logits: Tensor, beta: float) -> Tensor:
    """Return loss - beta · H: cross-entropy that is lower for outputs that are less sure.

    Up to a constant -beta · H is beta · KL(p ‖ uniform); label smoothing takes the divergence the
    other way round, KL(uniform ‖ p). A beta of 0.1 is the usual start.

    Args:
        loss: Cross-entropy of the same logits, a 0-d tensor.
        logits: Of shape (…, classes).
        beta: Weight of the entropy; 0 returns `loss` itself.

    References:
        Pereyra et al.: Regularizing Neural Networks by Penalizing Confident Output Distributions,
        2017. https://arxiv.org/abs/1701.06548

    >>> loss = confidence_penalty_loss(torch.tensor(1.0), torch.zeros(3, 2), beta=0.1)
    >>> round(loss.item(), 4)
    0.9307
    """
    return loss if beta == 0.0 else loss - beta * mean_entropy(logits)
