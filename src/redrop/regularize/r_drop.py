"""R-Drop: two forward passes of a batch, with two masks, have to agree."""

import torch
from torch import Tensor


def symmetric_kl(logits_a: Tensor, logits_b: Tensor) -> Tensor:
    """Return ½ [KL(a ‖ b) + KL(b ‖ a)] in nats, averaged over all positions.

    Computed as ½ Σ (a - b) (log a - log b) from the two log-softmaxes: no division, no logarithm of
    a probability that has become 0, and no term below 0. Both sides get a gradient.

    Args:
        logits_a: Of shape (…, classes); finite. What is narrower than float32 is widened first.
        logits_b: Of the same shape.

    Returns:
        A 0-d tensor.

    References:
        Jeffreys: An Invariant Form for the Prior Probability in Estimation Problems, 1946.

    >>> a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> round(symmetric_kl(a, b).item(), 4), symmetric_kl(a, a).item()
    (0.1155, 0.0)
    """
    log_a, log_b = _log_softmax(logits_a), _log_softmax(logits_b)
    terms = (log_a.exp() - log_b.exp()) * (log_a - log_b)
    return terms.sum(-1).mean() / 2


def r_drop_loss(
    loss_a: Tensor, loss_b: Tensor, logits_a: Tensor, logits_b: Tensor, alpha: float
) -> Tensor:
    """Return ½ (loss_a + loss_b) + ½ · alpha · symmetric_kl(a, b).

    This is half of the paper's loss, CE_a + CE_b + alpha · ½ [KL(a ‖ b) + KL(b ‖ a)]. So its alpha
    means the same here (1 to 5 are usual), while alpha = 0 gives the mean cross-entropy of the two
    passes, and the learning rate keeps its meaning. Code that averages the two cross-entropies and
    adds alpha times the symmetric divergence has an alpha of half this size.

    Args:
        loss_a: Cross-entropy of the first pass.
        loss_b: Cross-entropy of the second pass, of the same inputs, with masks of its own: an
            attached model gives them to the second forward of a step.
        logits_a: Of the first pass, shape (…, classes).
        logits_b: Of the second pass.
        alpha: Weight of the agreement.

    References:
        Liang et al.: R-Drop: Regularized Dropout for Neural Networks, 2021.
        https://arxiv.org/abs/2106.14448

    >>> a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    >>> loss = r_drop_loss(torch.tensor(1.0), torch.tensor(2.0), a, b, alpha=4.0)
    >>> round(loss.item(), 4)  # 1.5 + 2 · 0.1155
    1.7311
    """
    mean = (loss_a + loss_b) / 2
    if alpha == 0.0:
        return mean
    return mean + alpha / 2 * symmetric_kl(logits_a, logits_b)


def _log_softmax(logits: Tensor) -> Tensor:
    wide = logits if logits.dtype == torch.float64 else logits.float()
    return torch.log_softmax(wide, -1)
