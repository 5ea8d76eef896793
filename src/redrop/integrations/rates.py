"""Set rates by kind, by site, or everywhere, and put them back."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from types import TracebackType

from torch import nn

from redrop.errors import UsageError
from redrop.integrations.convert import Conversion, conversion_of, sites_of
from redrop.integrations.kinds import OTHER, Place, guess_kind
from redrop.mask.threshold import threshold
from redrop.models.config import DropoutRates
from redrop.nn import SiteModule

EVERYWHERE = "all"
_ELEMENTS = (*DropoutRates.sites(), "pre_activation", OTHER)
"""What "all" stands for, as in a recipe: not what drops tokens, heads, branches or layers."""


class RateChange:
    """What `set_rates` did; also a context manager that undoes it.

    Attributes:
        changed: Rate before and after, of each site that a pattern named.
    """

    def __init__(
        self,
        sites: Mapping[str, SiteModule],
        rates: Mapping[str, float],
        conversion: Conversion | None,
        rules: Mapping[str, float],
    ) -> None:
        self.changed = {name: (sites[name].p, p) for name, p in rates.items()}
        self._sites = {name: sites[name] for name in rates}
        self._conversion = conversion
        self._rule = _Rule(rules)
        if conversion is not None:
            conversion.calls.rules.append(self._rule)
        for name, p in rates.items():
            sites[name].p = p

    def restore(self) -> None:
        """Give every site the rate that it had before."""
        for name, (before, _) in self.changed.items():
            self._sites[name].p = before
        if self._conversion is not None and self._rule in self._conversion.calls.rules:
            self._conversion.calls.rules.remove(self._rule)

    def __enter__(self) -> RateChange:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.restore()

    def __repr__(self) -> str:
        return f"RateChange({self.changed})"


class _Rule:
    """Gives function calls that are met later the rate they would have got."""

    def __init__(self, rates: Mapping[str, float]) -> None:
        self.rates = dict(rates)

    def __call__(self, name: str, site: SiteModule) -> float | None:
        kind = guess_kind(Place(name, site))
        rate = None
        for pattern, p in self.rates.items():
            if _matches(pattern, name, kind):
                rate = p
        return rate


def set_rates(model: Conversion | nn.Module, rates: Mapping[str, float]) -> RateChange:
    """Set the rates of dropout sites.

    A pattern is a kind ("attention_weights"), "all" for every kind but those that drop whole
    tokens, heads, branches or layers, or the name of a site in which `*`, `?` and `[…]` stand for
    anything, as in file names. Where several name a site the last one counts. Function calls that a
    converted model makes for the first time later on are included.

    Args:
        model: A conversion, or a model with sites of redrop, converted or not.
        rates: Pattern to probability of dropping.

    Raises:
        UsageError: A rate is outside [0, 1], a pattern names no site, or there is no site.

    >>> from redrop.nn import Dropout
    >>> model = nn.Sequential(Dropout(0.1), nn.Linear(2, 2), Dropout(0.1))
    >>> change = set_rates(model, {"all": 0.0, "2": 0.5})
    >>> change.changed
    {'0': (0.1, 0.0), '2': (0.1, 0.5)}
    >>> change.restore()
    >>> model[0].p
    0.1
    """
    conversion = model if isinstance(model, Conversion) else conversion_of(model)
    module = model.model if isinstance(model, Conversion) else model
    sites = sites_of(module)
    if not sites:
        raise UsageError(
            f"{type(module).__name__} has no dropout site to set. Convert it with an example "
            "(`redrop.integrations.convert(model, example)`), so that its calls are found."
        )
    known = {} if conversion is None else conversion.kinds
    kinds = {name: known.get(name) or guess_kind(Place(name, site)) for name, site in sites.items()}
    wanted: dict[str, float] = {}
    for pattern, p in rates.items():
        threshold(p)
        named = [name for name in sites if _matches(pattern, name, kinds[name])]
        if not named:
            raise UsageError(_no_match(pattern, kinds))
        for name in named:
            wanted[name] = p
    return RateChange(sites, wanted, conversion, rates)


def _matches(pattern: str, name: str, kind: str) -> bool:
    if pattern == EVERYWHERE:
        return kind in _ELEMENTS
    return pattern in (kind, name) or fnmatchcase(name, pattern)


def _no_match(pattern: str, kinds: Mapping[str, str]) -> str:
    listed = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    rule = "is a kind that this model does not have" if _is_kind(pattern) else "names no site"
    return f'`{pattern}` {rule}. Sites: {listed}. Pass one of them, a kind, "*" or "all".'


def _is_kind(pattern: str) -> bool:
    return pattern in DropoutRates.kinds()
