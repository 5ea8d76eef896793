"""The rates of a live model: lower them all, and put them back."""

import torch

from redrop.errors import UsageError
from redrop.nn.module import SiteModule


class Rates:
    """The rate p of every dropout site of a model, as it was, and a factor on all of them.

    p = factor · base. A layer reads its p at each forward, so the next forward has the new rate;
    change it between steps, not between a forward and its backward, where activation checkpointing
    may read it again. Masks nest: with the same (seed, step, site, pass) what a larger factor keeps
    a smaller one keeps too. Nothing but p changes: no mode, no weight, no pass counter. torch's own
    dropout layers are no sites and keep their rates.

    A compiled model is compiled anew for each rate that it has not had before, and torch.compile
    gives up after 8 of them, with a warning, and runs it as written: a schedule that moves at every
    step does not go together with it; one that switches does.

    Args:
        model: Attached or not; the rates it has now are the base. A model without sites has none.

    >>> from redrop.nn.dropout import Dropout
    >>> model = torch.nn.Sequential(Dropout(0.4), Dropout(0.0))
    >>> rates = Rates(model)
    >>> rates.scale(0.5)
    >>> [layer.p for layer in model]
    [0.2, 0.0]
    >>> rates.restore()
    >>> [layer.p for layer in model], rates.base
    ([0.4, 0.0], {'0': 0.4, '1': 0.0})
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self._sites = {n: m for n, m in model.named_modules() if isinstance(m, SiteModule)}
        self.base = {name: site.p for name, site in self._sites.items()}
        self._factor = 1.0

    @property
    def factor(self) -> float:
        """The present factor."""
        return self._factor

    def scale(self, factor: float) -> None:
        """Set every rate to factor · base; without a change this is one comparison.

        Raises:
            UsageError: The factor is NaN or outside [0, 1].
        """
        if factor == self._factor:
            return
        if not 0.0 <= factor <= 1.0:
            raise UsageError(
                f"`factor` must lie in [0, 1]; got {factor}. Give the model the largest rates it "
                "is to have, and scale them down."
            )
        for name, site in self._sites.items():
            site.p = factor * self.base[name]
        self._factor = factor

    def restore(self) -> None:
        """Give every site the rate it had at the beginning, to the bit."""
        self.scale(1.0)
