"""Concrete dropout: the rate is a parameter that training learns, because the mask is relaxed."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.threshold import threshold
from redrop.mask.window import Window
from redrop.nn.dropout import Dropout
from redrop.nn.keyed_dropout import check_floating
from redrop.nn.module import SiteModule
from redrop.ops.random_bits import random_bits

TEMPERATURE = 0.1
"""Of the relaxation, as in the authors' code, https://github.com/yaringal/ConcreteDropout"""


def concrete_dropout(
    x: Tensor,
    key: int | Tensor,
    logit: Tensor,
    *,
    temperature: float = TEMPERATURE,
    window: Window | None = None,
) -> Tensor:
    """Scale each element down to between 0 and 1, nearly always to one of the two.

    y = x · (1 − z) / (1 − p),  z = sigmoid((logit p − logit q) / t),  q = (u + 1/2) / 2^32,

    u the random bits of the element. z > 1/2 where `Dropout` with the same key drops (up to the
    rounding of p), and the lower t, the nearer z is to 0 or 1. E[z] is p only nearly, for small t.

    Args:
        x: Any shape.
        key: Of the mask, from `redrop.mask.mask_key`; as a 0-d int64 tensor where it is traced.
        logit: log(p / (1 − p)), 0-d; it gets a gradient.
        temperature: t.
        window: Where `x` stands in the whole tensor of the whole job; by default it is the whole.

    Returns:
        A tensor like `x`, differentiable in `x` and `logit`.

    Raises:
        UsageError: A dtype that is not floating, or a window that `x` leaves.

    >>> y = concrete_dropout(torch.ones(4), 0x8B1EF9904FBD598E, torch.tensor(0.0))
    >>> [round(v, 4) for v in y.tolist()]
    [0.0, 1.9999, 1.9999, 0.3388]
    """
    check_floating(x)
    compute = torch.float64 if x.dtype == torch.float64 else torch.float32
    noise = _logit_of_bits(key, x.shape, window, x.device).to(compute)
    factor = _factor(noise, logit.to(compute), temperature)
    return (x.to(compute) * factor).to(x.dtype)


def _logit_of_bits(
    key: int | Tensor, shape: Sequence[int], window: Window | None, device: torch.device | str
) -> Tensor:
    """Return logit q in float64, in which neither q nor 1 − q is 0: |logit q| < 23."""
    bits = random_bits(key, shape, window=window, device=device)
    noise: Tensor = torch.special.logit((bits.to(torch.float64) + 0.5) / 2**32)
    return noise


def _factor(noise: Tensor, logit: Tensor, temperature: float) -> Tensor:
    # 1 / (1 − p) is 1 + exp(logit p), and 1 − sigmoid(a) is sigmoid(−a).
    return torch.sigmoid((noise - logit) / temperature) * (1.0 + logit.exp())


class ConcreteDropout(SiteModule):
    """Dropout whose rate is learned: every element is scaled by a relaxed decision.

    y = x · (1 − z) / (1 − p) in training mode, see `concrete_dropout`; y = x in eval mode.

    The gradient of the loss alone would learn not to drop. What speaks for dropping is `penalty`,
    which belongs into the loss, divided by the number of training samples.

    Args:
        p: Where the rate begins, strictly between 0 and 1.
        temperature: Of the relaxation; lower is nearer to dropout, with rarer and larger gradients.

    Attributes:
        logit: The parameter, log(p / (1 − p)). It has no dimension, so that weight decay, which is
            for matrices, leaves it alone.

    Shape:
        Any; the output has the shape of the input.

    Randomness:
        As for `Dropout`, one decision per element. `redrop.nn.replay` gives the factors of the
        present rate. The words come from a portable kernel, and backward keeps the factors: it is
        many times slower than `Dropout`.

    Raises:
        UsageError: p is NaN or outside (0, 1), or the temperature is not positive.

    References:
        Gal, Hron, Kendall: Concrete Dropout, 2017. https://arxiv.org/abs/1705.07832

    >>> drop = ConcreteDropout(p=0.25)
    >>> round(drop.p, 6), drop.logit.requires_grad
    (0.25, True)
    >>> x = torch.ones(3)
    >>> drop.eval()(x) is x
    True
    """

    def __init__(self, p: float = 0.1, temperature: float = TEMPERATURE) -> None:
        super().__init__()
        if not 0.0 < temperature < math.inf:
            raise UsageError(f"`temperature` must be positive and finite; got {temperature}.")
        self.temperature = temperature
        self.logit = torch.nn.Parameter(torch.tensor(_logit(p)))

    @property
    def p(self) -> float:
        """The present rate; to set it moves the parameter."""
        return float(torch.sigmoid(self.logit.detach().double()))

    @p.setter
    def p(self, p: float) -> None:
        with torch.no_grad():
            self.logit.fill_(_logit(p))

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch.nn.Dropout's name for it
        """Scale in training mode; return the very same tensor in eval mode."""
        if not self.training:
            return input
        mask = self.next_mask()
        window = mask.window(input.shape)
        return concrete_dropout(
            input, mask.key, self.logit, temperature=self.temperature, window=window
        )

    def penalty(
        self,
        weight: Tensor | None = None,
        *,
        length_scale: float = 1.0,
        features: int | None = None,
    ) -> Tensor:
        """Return what the rate, and the weights behind the site, cost, in nats of a whole data set.

        l² / 2 · ‖W‖² / (1 − p) − K · H(p),  H(p) = −p log p − (1 − p) log(1 − p).

        It is the divergence of the weights that dropout makes random from their prior, up to a
        constant: add it to a mean loss per sample divided by the number of training samples. (The
        paper writes (1 − p) ‖M‖², with M the weights as they are without dropout's rescaling: here
        M = W / (1 − p).) The entropy draws p to 1/2, the norm to 0.

        Args:
            weight: W of the linear layer that reads this site, (outputs, inputs, …); without it
                there is no norm, as where weight decay is applied anyway.
            length_scale: l, the inverse deviation that the prior gives the weights.
            features: K; by default the inputs of `weight`, or 1.

        >>> round(ConcreteDropout(p=0.5).penalty(features=10).item(), 4)
        -6.9315
        """
        # log p and log(1 − p) from the logit: neither is lost where p is near 0 or 1.
        log_p, log_q = (torch.nn.functional.logsigmoid(a) for a in (self.logit, -self.logit))
        negative_entropy = log_p.exp() * log_p + log_q.exp() * log_q
        if features is None:
            features = 1 if weight is None else weight.shape[1]
        if weight is None:
            return features * negative_entropy
        norm = weight.square().sum() * (1.0 + self.logit.exp())
        return length_scale**2 / 2 * norm + features * negative_entropy

    def mask_of(self, key: int, p: float, shape: Sequence[int]) -> Tensor:
        """Return the factors (1 − z) / (1 − p), in float64."""
        noise = _logit_of_bits(key, shape, None, "cpu")
        return _factor(noise, torch.tensor(_logit(p), dtype=torch.float64), self.temperature)

    def extra_repr(self) -> str:
        """The present rate."""
        return f"p={self.p:.4g}, temperature={self.temperature}"


def learn_rates(
    model: torch.nn.Module, *, temperature: float = TEMPERATURE
) -> dict[str, ConcreteDropout]:
    """Put a ConcreteDropout in the place of every elementwise dropout that drops.

    Each begins at the rate that its site has and keeps its name. Do it before the model is attached
    and before the optimizer is made.

    Args:
        model: Its layers `Dropout` and `AttentionDropout` with 0 < p < 1 are replaced.
        temperature: Of all of them.

    Returns:
        The new layers by qualified name; add up their `penalty` in the loss.

    Raises:
        UsageError: There is no such layer.

    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), Dropout(0.25))
    >>> list(learn_rates(model))
    ['1']
    """
    found = {
        name: module
        for name, module in model.named_modules(remove_duplicate=False)
        if name and isinstance(module, Dropout) and 0.0 < module.p < 1.0
    }
    if not found:
        raise UsageError(
            "A model whose rates are to be learned needs a dropout that drops, inside of it; "
            f"{type(model).__name__} has none. Begin with 0.1 where a rate is to be learned."
        )
    # A layer that stands in two places stays one layer, with one rate.
    learned = {id(module): ConcreteDropout(module.p, temperature) for module in found.values()}
    sites = {}
    for name, module in found.items():
        parent, _, own = name.rpartition(".")
        sites[name] = learned[id(module)].train(module.training)
        setattr(model.get_submodule(parent), own, sites[name])
    return sites


def _logit(p: float) -> float:
    threshold(p)
    if not 0.0 < p < 1.0:
        raise UsageError(
            f"`p` of concrete dropout must lie strictly between 0 and 1; got {p}. "
            "Begin near: 0.01 instead of 0."
        )
    return math.log(p) - math.log1p(-p)
