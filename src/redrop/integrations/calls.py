"""The mode that sees the function calls of a converted model and gives each a site."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from redrop.integrations.checkpointing import keep_scope
from redrop.integrations.functions import FUNCTIONS, Call, parse
from redrop.integrations.multi_head import MULTI_HEAD, multi_head_attention_forward
from redrop.integrations.random_draws import DRAWS
from redrop.integrations.scope import Scope, SeesCalls, current_scope, handling, is_handling
from redrop.nn import SiteModule
from redrop.nn.site import Site

Observer = Callable[[str, tuple[int, ...], float], None]
"""Told of a call: name of its site, shape of what is dropped, the caller's rate."""

Rule = Callable[[str, SiteModule], float | None]
"""The rate that a new site gets, or None."""

_LOOKED_AT = frozenset({*FUNCTIONS, *DRAWS, MULTI_HEAD})


class FunctionCalls(SeesCalls):
    """Where the function calls of a converted model go; a function mode of torch's.

    A call that drops gets the site `<module>:<function>`, and `<module>:<function>.2` is the second
    such call in one forward of that module. Its rate is the caller's, until somebody sets the rate
    of the site (`redrop.integrations.set_rates`, a schedule): then it is the site's.

    A site drops in training mode only, of the module that calls and of the call (`training=`),
    whatever a caller that forgets the mode passes. Its own attribute `training`, False by default,
    switches it on in eval mode, which is what MC dropout wants.

    Attributes:
        sites: By name, in the order in which they were first met.
        rules: Rates of sites that are met later on.
        observer: Told of every call; while there is one, nothing is dropped.
        unseen: What draws random numbers beside: {module: function}.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        self.model = model
        self.sites: dict[str, SiteModule] = {}
        self.rules: list[Rule] = []
        self.observer: Observer | None = None
        self.unseen: dict[str, str] = {}
        self._called: dict[str, float] = {}
        self._warned: set[str] = set()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function as it is, unless it drops; torch calls this."""
        kwargs = {} if kwargs is None else kwargs
        if func not in _LOOKED_AT:  # nearly all: this runs for every function of a forward
            return func(*args, **kwargs)
        scope = current_scope()
        if is_handling() or scope is None or scope.calls is not self:  # another one's call
            return func(*args, **kwargs)
        call = parse(func, args, kwargs)
        if call is not None:
            with handling():
                return self.run(call, scope)
        if func is MULTI_HEAD:
            return multi_head_attention_forward(self, scope, args, kwargs)
        if self.observer is not None:
            self.unseen.setdefault(scope.name or self._own_name(), func.__name__)
        return func(*args, **kwargs)

    def run(self, call: Call, scope: Scope) -> Tensor:
        """Run a call that may drop, made in a scope."""
        keep_scope(scope)  # before the count: a recomputation begins with the same one
        scope.counts[call.function.name] += 1
        name = self._name(scope, call.function.name)
        if self.observer is not None:
            self._site(name, call)
            self.observer(name, call.shape, call.p)
            return call.without_dropout()
        if scope.module.training and call.is_training:
            site = self._site(name, call)
            self._follow(name, site, call.p)
        elif name in self.sites and self.sites[name].training:
            site = self.sites[name]
        else:
            if call.is_training and call.p > 0.0:
                self._warn(name, scope)
            return call.without_dropout()
        return call.drop(site) if site.p > 0.0 else call.without_dropout()

    def _name(self, scope: Scope, function: str) -> str:
        count = scope.counts[function]
        name = f"{scope.name or self._own_name()}:{function}"
        return name if count == 1 else f"{name}.{count}"

    def _own_name(self) -> str:
        return type(self.model).__name__

    def _site(self, name: str, call: Call) -> SiteModule:
        """Return the site of a call; a new one joins the run that the model is attached to."""
        if name in self.sites:
            return self.sites[name]
        site = call.function.layer(call.p)
        site.training = False
        self._called[name] = call.p
        for rule in self.rules:
            p = rule(name, site)
            if p is not None:
                site.p = p
        self._join(name, site)
        self.sites[name] = site
        return site

    def _follow(self, name: str, site: SiteModule, p: float) -> None:
        """Let the site have the caller's rate, unless somebody has set another."""
        if site.p == self._called[name]:
            site.p = self._called[name] = p

    def _join(self, name: str, site: SiteModule) -> None:
        """Tie a site to the run that the model, or one around it, is attached to."""
        for other, module in self.model.named_modules():
            if other and isinstance(module, SiteModule) and module.site is not None:
                state = module.site.state
                full = below(
                    _above(module.site.name, other, self._own_name()), name, self._own_name()
                )
                site.site = state.sites[full] = Site(full, state)
                return

    def _warn(self, name: str, scope: Scope) -> None:
        if name in self._warned:
            return
        self._warned.add(name)
        warnings.warn(
            f"`{name}` asks for dropout while its module is in eval mode; converted, it drops "
            f"nothing there. Pass a rate only `if self.training` in {type(scope.module).__name__}.",
            stacklevel=4,
        )


def below(prefix: str, name: str, model: str) -> str:
    """Return a site's name in a model around this one; calls of the model itself lose its class.

    >>> below("", "GPT:dropout", "GPT"), below("gpt", "GPT:dropout", "GPT")
    ('GPT:dropout', 'gpt:dropout')
    >>> below("gpt", "block:dropout", "GPT")
    'gpt.block:dropout'
    """
    if not prefix:
        return name
    path, colon, function = name.partition(":")
    return f"{prefix}:{function}" if colon and path == model else f"{prefix}.{name}"


def _above(full: str, name: str, model: str) -> str:
    """Return the prefix with which `below` makes the full name.

    >>> _above("gpt:dropout", "GPT:dropout", "GPT"), _above("a.b.0", "0", "GPT")
    ('gpt', 'a.b')
    """
    if full == name:
        return ""
    path, colon, function = name.partition(":")
    ending = f":{function}" if colon and path == model else f".{name}"
    return full.removesuffix(ending)
