"""Make every place where a model drops a site of redrop, in place, and undo it."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from torch import nn

from redrop.errors import UsageError
from redrop.integrations.calls import FunctionCalls, below
from redrop.integrations.layers import ConvertedLayer, is_convertible
from redrop.integrations.scope import ScopedForward
from redrop.integrations.unconvertible import name_unconverted, refuse
from redrop.nn import SiteModule
from redrop.nn.attach import _CountForward

_FAST_PATHS = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)


class Conversion:
    """A converted model, and the way back. Made by `convert`; also a context manager.

    Attributes:
        model: The model that was given, the same object.
        calls: The function calls that drop, with their sites.
        unconverted: What drops where no conversion can see it: {module: why and what to do}.
        kinds: Kind of each site, as far as `find_sites` has seen it.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.calls = FunctionCalls(model)
        self.unconverted = name_unconverted(model)
        self.kinds: dict[str, str] = {}
        modules = list(model.named_modules())
        self._layers = [ConvertedLayer(m) for _, m in modules if is_convertible(m)]
        self._forwards = []
        for name, module in modules:
            if _needs_scope(module):
                forward = ScopedForward(
                    self.calls, name, module, pauses_in_eval=_has_fast_path(module)
                )
                module.__dict__["forward"] = forward
                self._forwards.append(forward)
        # Not a child: a child of nn.Sequential would be called as a layer.
        model.__dict__["named_modules"] = ModulesAndCalls(self)

    @property
    def sites(self) -> dict[str, SiteModule]:
        """Every site by name: layers first, then function calls in the order first met."""
        return sites_of(self.model)

    @property
    def outside(self) -> dict[str, str]:
        """What drops, or seems to, where no site can be: {module: why and what to do}."""
        drawn = {
            name: f"it calls {function} in training mode; if that is dropout written by hand, call "
            "torch.nn.functional.dropout or a layer of redrop.nn there"
            for name, function in self.calls.unseen.items()
        }
        return {**drawn, **self.unconverted}

    def restore(self) -> None:
        """Put the original back exactly: classes, rates, forwards; detach it from its run."""
        if self.model.__dict__.get("named_modules") is None:
            return
        del self.model.__dict__["named_modules"]
        for forward in reversed(self._forwards):
            forward.put_back()
        for layer in self._layers:
            layer.restore()
        hooks = self.model._forward_pre_hooks
        for handle in [h for h, hook in hooks.items() if isinstance(hook, _CountForward)]:
            del hooks[handle]

    def __enter__(self) -> Conversion:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.restore()

    def __repr__(self) -> str:
        return f"Conversion({type(self.model).__name__}, sites={len(self.sites)})"


class ModulesAndCalls:
    """Stands in the model's `named_modules`: what the model has, then the sites of its calls.

    So `redrop.nn.attach` and `replay` find them, also from a model around this one, while children,
    state dict and iteration over the model stay as they were.
    """

    def __init__(self, conversion: Conversion) -> None:
        self.conversion = conversion

    def __call__(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        """Be `named_modules`."""
        memo = set() if memo is None else memo
        model, calls = self.conversion.model, self.conversion.calls
        yield from type(model).named_modules(model, memo, prefix, remove_duplicate)
        for name, site in calls.sites.items():
            if site not in memo or not remove_duplicate:
                memo.add(site)
                yield below(prefix, name, type(model).__name__), site


def convert(model: nn.Module, example_inputs: Any = None) -> Conversion:
    """Make every place where the model drops a site of redrop; in place.

    torch's dropout layers and `nn.MultiheadAttention` become redrop's: the same objects with the
    same parameters, of another class. Function calls inside forwards (`F.dropout` and its kin,
    `torch.dropout`, `scaled_dot_product_attention`, `multi_head_attention_forward`) get sites named
    `<module>:<function>`, with `.2` for the second such call in one forward. The model can then be
    attached (`redrop.attach`) and replayed. Nothing is dropped in eval mode. At p = 0 all outputs
    are those of the original, to the bit.

    Function calls are found by running them. Give an example, and all that its forward makes are
    known at once; without one they join, and the run that the model is attached to, as they come.
    A model that drops in functions alone has no site to attach before that.

    Under torch.compile the modules of one's own run uncompiled: correct, but no faster.

    Args:
        model: Any module; one that is converted already is refused.
        example_inputs: What the model is called with: a tensor, a tuple of arguments, or a mapping
            of keywords. See `find_sites`.

    Raises:
        UsageError: The model holds a scripted or compiled module or DataParallel, is converted
            already, or fails on the example.

    Warns:
        What drops inside a kernel (recurrent layers with `dropout`, flash attention) stays outside.
        So does dropout written by hand; a forward on an example names modules that draw random
        numbers.

    >>> model = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    >>> with convert(model) as conversion:
    ...     print(list(conversion.sites), type(model[1]).__module__)
    ['1'] redrop.nn.dropout
    >>> type(model[1]).__module__
    'torch.nn.modules.dropout'
    """
    if conversion_of(model) is not None:
        raise UsageError(
            f"{type(model).__name__} is converted already. Use the conversion there is, or call "
            "its `restore()` first."
        )
    refuse(model)
    conversion = Conversion(model)
    for name, reason in conversion.unconverted.items():
        warnings.warn(f"`{name}` stays outside the run: {reason}.", stacklevel=2)
    if example_inputs is not None:
        from redrop.integrations.sites import find_sites  # which converts, when it must

        try:
            find_sites(model, example_inputs)
        except BaseException:
            conversion.restore()
            raise
    return conversion


def sites_of(model: nn.Module) -> dict[str, SiteModule]:
    """Return the sites of redrop in a model, by the names that `redrop.attach` gives them.

    >>> from redrop.nn import Dropout
    >>> list(sites_of(nn.Sequential(Dropout(), nn.Dropout())))
    ['0']
    """
    return {
        name or type(module).__name__: module
        for name, module in model.named_modules()
        if isinstance(module, SiteModule)
    }


def conversion_of(model: nn.Module) -> Conversion | None:
    """Return the conversion that a model is under.

    >>> conversion_of(nn.Linear(1, 1)) is None
    True
    """
    named_modules = model.__dict__.get("named_modules")
    return named_modules.conversion if isinstance(named_modules, ModulesAndCalls) else None


def _needs_scope(module: nn.Module) -> bool:
    """Say whether a module's forward may call functions that drop; torch's own seldom do."""
    if isinstance(module, SiteModule):
        return False
    is_torchs = type(module).__module__.startswith("torch.nn.modules.")
    return not is_torchs or type(module) in _FAST_PATHS


def _has_fast_path(module: nn.Module) -> bool:
    """Say whether it runs torch's fast path in eval mode, and nothing of the user's inside."""
    forwards = [kind.forward for kind in _FAST_PATHS]
    return type(module).forward in forwards and all(
        type(part).__module__.startswith("torch.nn.modules.") or isinstance(part, SiteModule)
        for part in module.modules()
        if part is not module
    )
