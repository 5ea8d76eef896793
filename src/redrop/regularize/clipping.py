"""Gradient clipping, by the norm of all gradients together or element by element.

Neither waits for a number: on a GPU the step goes on while norm and share are still computed.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def clip_by_norm(parameters: Sequence[Tensor], clip_norm: float) -> Tensor:
    """Scale all gradients down to a global norm of `clip_norm`; return the norm before.

    g ← g · min(1, c / (‖g‖ + 1e-6)) with ‖g‖ over the gradients of all parameters together, so the
    direction of the step stays.

    A gradient that is not finite makes the norm so. Clipping cannot mend that: with a norm of NaN
    all gradients become NaN, with an infinite one the infinite elements become NaN, the others 0.
    Watch the returned norm, or the loss.

    Args:
        parameters: Those without a gradient are passed over.
        clip_norm: c; 0 clips nothing and leaves all gradients as they are.

    Returns:
        A 0-d tensor.

    References:
        Pascanu, Mikolov, Bengio: On the Difficulty of Training Recurrent Neural Networks, 2013.
        https://arxiv.org/abs/1211.5063

    >>> w = torch.nn.Parameter(torch.zeros(2))
    >>> w.grad = torch.tensor([3.0, 4.0])
    >>> clip_by_norm([w], 1.0), w.grad
    (tensor(5.), tensor([0.6000, 0.8000]))
    """
    if clip_norm == 0.0:
        return torch.nn.utils.get_total_norm(_gradients(parameters), foreach=True)
    return torch.nn.utils.clip_grad_norm_(parameters, clip_norm, foreach=True)


def clip_by_value(parameters: Sequence[Tensor], clip_value: float) -> Tensor:
    """Clamp every element of every gradient to [-c, c]; return the share of elements beyond.

    g_i ← min(max(g_i, -c), c): unlike `clip_by_norm` this turns the direction of the step, towards
    that of the sign of the gradient.

    An infinite element is clamped like any other, and counted. NaN stays NaN and is not counted.

    Args:
        parameters: Those without a gradient are passed over.
        clip_value: c; 0 clips nothing and leaves all gradients as they are.

    Returns:
        A 0-d float32 tensor in [0, 1]; 0 where there are no gradients.

    References:
        Mikolov: Statistical Language Models Based on Neural Networks, PhD thesis, 2012.

    >>> w = torch.nn.Parameter(torch.zeros(4))
    >>> w.grad = torch.tensor([3.0, -4.0, 0.5, -1.0])
    >>> clip_by_value([w], 1.0), w.grad
    (tensor(0.5000), tensor([ 1.0000, -1.0000,  0.5000, -1.0000]))
    """
    gradients = _gradients(parameters)
    elements = sum(gradient.numel() for gradient in gradients)
    if clip_value == 0.0 or elements == 0:
        return torch.zeros((), device=gradients[0].device if gradients else None)
    beyond = torch.stack([(gradient.abs() > clip_value).sum() for gradient in gradients]).sum()
    torch._foreach_clamp_min_(gradients, -clip_value)
    torch._foreach_clamp_max_(gradients, clip_value)
    return beyond / elements


def _gradients(parameters: Sequence[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
