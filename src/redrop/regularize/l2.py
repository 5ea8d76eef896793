"""The L2 penalty: a term of the loss, which decoupled weight decay is not."""

from collections.abc import Iterable

import torch
from torch import Tensor


def l2_penalty(parameters: Iterable[Tensor]) -> Tensor:
    """Return ½ Σ w² over all elements of all parameters; add λ times it to the loss.

    Its gradient is λ w. Plain SGD with learning rate η then makes w ← (1 - η λ) w - η g, which is
    weight decay exactly. Adam does not: it divides λ w, like g, by the size of past gradients, so
    weights with large gradients are hardly penalised and those with none move by η whatever λ is.
    AdamW takes the penalty out of the gradient, w ← (1 - η λ) w - η · Adam(g); that is the
    `weight_decay` of training. The two are different regularizers under Adam, and the same λ does
    not mean the same.

    Args:
        parameters: Those to be kept small: usually the matrices, not biases and gains of norms.

    Returns:
        A 0-d tensor; 0 for no parameters.

    References:
        Krogh, Hertz: A Simple Weight Decay Can Improve Generalization, 1991.
        Loshchilov, Hutter: Decoupled Weight Decay Regularization, 2019, propositions 1 and 2.
        https://arxiv.org/abs/1711.05101

    >>> l2_penalty([torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])])
    tensor(7.)
    """
    squares = [parameter.square().sum() for parameter in parameters]
    return torch.stack(squares).sum() / 2 if squares else torch.zeros(())
