"""Find the dropout sites of a model by running it once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from redrop.errors import UsageError
from redrop.integrations.calls import Observer
from redrop.integrations.convert import Conversion, conversion_of, convert
from redrop.integrations.kinds import Place, guess_kind
from redrop.mask.window import Window
from redrop.nn import DropConnect, NextMask, SiteModule
from redrop.nn.attach import _CountForward

_AS_GOOD_AS_ZERO = 2.0**-140
"""Rate of a site during the look: not 0, so that the site is used, yet it drops nothing."""

_KEEP_SHAPE = (nn.modules.dropout._DropoutNd, nn.MultiheadAttention)
"""Sites that at any rate run all that is behind them; others, such as LayerDrop, skip layers."""


@dataclass(frozen=True, slots=True)
class SiteInfo:
    """One dropout site of a model, as one forward met it.

    Args:
        name: Qualified name of the layer, or `<module>:<function>` of a call.
        kind: A kind of `redrop.models.DropoutRates` where class or path make it clear, else
            "other".
        p: Probability of dropping, as it is now.
        shape: Of what is dropped, in the first call: for attention that of the weights. None where
            nothing was called.
        elements: Numbers that dropout touches in one forward, all calls together.
        calls: Uses in one forward.
    """

    name: str
    kind: str
    p: float
    shape: tuple[int, ...] | None
    elements: int
    calls: int


def find_sites(model: nn.Module, example_inputs: Any) -> tuple[SiteInfo, ...]:
    """Return every dropout site, in the order of one forward; sites it did not call come last.

    The forward is real, in training mode, without gradients. Model, buffers, modes, the run it is
    attached to and torch's generator are left as they were. A model that is not converted is for
    the time of the look; one that is knows its function calls from then on.

    Args:
        model: Any module; sites of redrop count too.
        example_inputs: What the model is called with: a tensor, a tuple or list of arguments, or a
            mapping of keywords.

    Raises:
        UsageError: The forward fails on the example; or what `convert` refuses.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5))
    >>> find_sites(model, torch.ones(2, 4))
    (SiteInfo(name='1', kind='other', p=0.5, shape=(2, 8), elements=16, calls=1),)
    """
    conversion = conversion_of(model)
    if conversion is None:
        with convert(model) as conversion:
            return _look(conversion, example_inputs)
    return _look(conversion, example_inputs)


def _look(conversion: Conversion, example_inputs: Any) -> tuple[SiteInfo, ...]:
    _refuse_lazy(conversion.model)
    seen: dict[str, SiteInfo] = {}
    widths: dict[nn.Module, int] = {}
    model = conversion.model

    def note(name: str, shape: tuple[int, ...], p: float) -> None:
        known = seen.get(name) or SiteInfo(name, "", p, shape, 0, 0)
        seen[name] = replace(
            known, elements=known.elements + math.prod(shape), calls=known.calls + 1
        )

    rates = {name: site.p for name, site in conversion.sites.items()}
    known_outside = set(conversion.outside)
    with ExitStack() as stack:
        stack.enter_context(_unmoved(model))
        stack.enter_context(_watched(conversion, note))
        stack.enter_context(_measured(model, widths))
        stack.enter_context(torch.no_grad())
        # What a forward without gradients warns of (reentrant checkpointing does) is not its fault.
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        _call(model, example_inputs)
    for name, site in conversion.sites.items():
        known = seen.get(name) or SiteInfo(name, "", site.p, None, 0, 0)
        seen[name] = replace(known, p=rates.get(name, site.p))
    for name, reason in conversion.outside.items():
        if name not in known_outside:
            warnings.warn(f"`{name}` stays outside the run: {reason}.", stacklevel=3)
    infos = _with_kinds(conversion, seen, widths)
    conversion.kinds |= {info.name: info.kind for info in infos}
    return infos


def _refuse_lazy(model: nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise UsageError(
                f"A look must not initialise a model, and `{name}` has no shape yet. Run the model "
                "once on an example first."
            )


def _call(model: nn.Module, example: Any) -> None:
    try:
        if isinstance(example, Mapping):
            model(**example)
        elif isinstance(example, (tuple, list)):
            model(*example)
        else:
            model(example)
    except UsageError:
        raise
    except Exception as error:  # whatever the user's forward raises
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        raise UsageError(
            f"{type(model).__name__} must run on the example, {_describe(example)}; it raised "
            f"{type(error).__name__}: {reason} Pass inputs of the right shape and dtype."
        ) from error


def _describe(example: Any) -> str:
    if isinstance(example, Tensor):
        return f"a {example.dtype} tensor of shape {tuple(example.shape)}"
    if isinstance(example, Mapping):
        return ", ".join(f"{name}={_describe(value)}" for name, value in example.items())
    if isinstance(example, (tuple, list)):
        return ", ".join(map(_describe, example)) or "nothing"
    return type(example).__name__


@contextmanager
def _unmoved(model: nn.Module) -> Iterator[None]:
    """Switch to training mode; afterwards put back what a training forward moves."""
    modes = {module: module.training for module in model.modules()}
    holders = [module for module in model.modules() if module._buffers]
    before = [dict(module._buffers) for module in holders]
    values = [
        {name: None if x is None else x.clone() for name, x in buffers.items()}
        for buffers in before
    ]
    hooks = dict(model._forward_pre_hooks)
    with torch.random.fork_rng(devices=_cuda_devices(model)):
        try:
            for handle, hook in hooks.items():
                if isinstance(hook, _CountForward):  # a look is no step of a run
                    del model._forward_pre_hooks[handle]
            model.train()
            yield
        finally:
            model._forward_pre_hooks.clear()
            model._forward_pre_hooks.update(hooks)
            for module, mode in modes.items():
                module.training = mode
            for module, buffers, copies in zip(holders, before, values, strict=True):
                _put_back(module, buffers, copies)


def _put_back(
    module: nn.Module, buffers: dict[str, Tensor | None], copies: dict[str, Tensor | None]
) -> None:
    module._buffers.clear()
    module._buffers.update(buffers)
    for name, buffer in buffers.items():
        copied = copies[name]
        if buffer is not None and copied is not None:
            with torch.no_grad():
                buffer.copy_(copied)


def _cuda_devices(model: nn.Module) -> list[torch.device]:
    devices = {parameter.device for parameter in model.parameters()}
    return sorted((d for d in devices if d.type == "cuda"), key=str)


@contextmanager
def _watched(conversion: Conversion, note: Observer) -> Iterator[None]:
    """Let every use of a site be noted, and none skip a layer."""
    calls = conversion.calls
    layers = {n: m for n, m in conversion.sites.items() if n not in calls.sites}
    rates = {name: layer.p for name, layer in layers.items()}
    try:
        calls.observer = note
        for name, layer in layers.items():
            if layer.p == 0.0 or not isinstance(layer, _KEEP_SHAPE):
                layer.p = _AS_GOOD_AS_ZERO
            layer.__dict__["next_mask"] = _Watch(name, layer, rates[name], note)
        yield
    finally:
        calls.observer = None
        for name, layer in layers.items():
            layer.__dict__.pop("next_mask", None)
            if layer.p != rates[name]:
                layer.p = rates[name]


class _Watch:
    """Stands in a layer's `next_mask`: every layer asks for a mask, then says for which shape."""

    def __init__(self, name: str, layer: SiteModule, p: float, note: Observer) -> None:
        self.name, self.layer, self.p, self.note = name, layer, p, note

    def __call__(self) -> NextMask:
        if not isinstance(self.layer, _KEEP_SHAPE):  # they need no window: one mask for the batch
            shape = tuple(self.layer.weight.shape) if isinstance(self.layer, DropConnect) else ()
            self.note(self.name, shape, self.p)
            return NextMask(0, 0)
        mask = _ToldShape(0, 0)
        mask.watch = self
        return mask


class _ToldShape(NextMask):
    watch: _Watch

    def window(self, shape: torch.Size) -> Window | None:
        self.watch.note(self.watch.name, tuple(shape), self.watch.p)
        return None


@contextmanager
def _measured(model: nn.Module, widths: dict[nn.Module, int]) -> Iterator[None]:
    """Note the last size of the first floating tensor that each module reads."""

    def measure(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        for x in (*args, *kwargs.values()):
            if isinstance(x, Tensor) and x.is_floating_point() and x.dim() > 0:
                widths.setdefault(module, x.shape[-1])
                return

    handles = [m.register_forward_pre_hook(measure, with_kwargs=True) for m in model.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _with_kinds(
    conversion: Conversion, seen: dict[str, SiteInfo], widths: dict[nn.Module, int]
) -> tuple[SiteInfo, ...]:
    modules = dict(conversion.model.named_modules())
    sites = conversion.sites
    infos, is_early = [], any(_is_numbered(name) for name in seen)
    for name, info in seen.items():
        is_early = is_early and not _is_numbered(name)
        parent, width = _parent(modules, name, conversion.calls.sites, widths)
        is_one_shape = info.elements == info.calls * math.prod(info.shape or ())
        shape = info.shape if is_one_shape else None
        place = Place(name, sites[name], parent, shape, width, is_early and info.calls == 1)
        infos.append(replace(info, kind=guess_kind(place)))
    return tuple(infos)


def _is_numbered(name: str) -> bool:
    return any(part.isdigit() for part in name.partition(":")[0].split("."))


def _parent(
    modules: dict[str, nn.Module],
    name: str,
    calls: Mapping[str, SiteModule],
    widths: dict[nn.Module, int],
) -> tuple[nn.Module | None, int | None]:
    """Return the module that calls a site, and the width of the nearest one that was measured."""
    path = name.partition(":")[0] if name in calls else name.rpartition(".")[0]
    path = path if path in modules else ""
    parent = modules.get(path)
    while path and modules[path] not in widths:
        path = path.rpartition(".")[0]
    return parent, widths.get(modules[path])
