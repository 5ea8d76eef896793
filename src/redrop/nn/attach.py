"""Attach a model to a run: name its sites, give it a seed and a step, make its masks replayable."""

import operator
import warnings

import torch

from redrop.errors import UsageError
from redrop.mask.key import mask_key
from redrop.nn.module import SiteModule
from redrop.nn.site import Site, is_recomputing
from redrop.nn.state import RunState


def attach(model: torch.nn.Module, *, seed: int) -> RunState:
    """Name every dropout site of the model and tie its masks to (seed, step, site).

    Each site is named by its qualified module name (`blocks.0.attention.weights`). Attaching again
    starts a new run. A copy (deepcopy, pickle) of an attached model is a run of its own.

    Args:
        model: Any module that contains layers of `redrop.nn`.
        seed: Of the run, 0 <= seed < 2^64.

    Returns:
        The state that the sites share; `state.set_step(step)` before each training step. Without
        it each training forward of the model counts as one step.

    Raises:
        UsageError: The seed is out of range, the model is no module or has no site, or two sites'
            names collide.

    >>> from redrop.nn import Dropout
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), Dropout(0.5))
    >>> attach(model, seed=1)
    RunState(seed=1, step=0, sites=1)
    """
    if not isinstance(model, torch.nn.Module):
        raise UsageError(f"`model` must be a torch.nn.Module; got {model!r}. Pass the model.")
    try:
        seed = operator.index(seed)
    except TypeError:
        raise UsageError(f"`seed` must be an integer; got {seed!r}. Pass an int.") from None
    mask_key(seed, 0, 0)  # refuses a seed out of range
    found = {name: m for name, m in model.named_modules() if isinstance(m, SiteModule)}
    if not found:
        raise UsageError(
            f"A model to attach needs a dropout layer of redrop.nn; {type(model).__name__} has "
            f"none. {_how_to_get_sites(model)}"
        )
    _warn_of_plain_dropout(model)
    state = RunState(seed)
    for name, module in found.items():
        # A model that is itself one dropout layer has the empty qualified name.
        module.site = state.sites[name] = Site(name or type(module).__name__, state)
    _refuse_collision(state)
    for handle, hook in list(model._forward_pre_hooks.items()):
        if isinstance(hook, _CountForward):
            del model._forward_pre_hooks[handle]
    model.register_forward_pre_hook(_CountForward(state))
    return state


class _CountForward:
    """Forward hook of the attached model; an object, so that a copied model counts for itself."""

    def __init__(self, state: RunState) -> None:
        self.state = state

    def __call__(self, module: torch.nn.Module, args: object) -> None:  # noqa: ARG002
        if module.training and not is_recomputing():
            self.state.count_forward()


def _refuse_collision(state: RunState) -> None:
    names: dict[int, str] = {}
    for site in state.sites.values():
        other = names.setdefault(site.id, site.name)
        if other != site.name:
            raise UsageError(
                f"Two sites must not share an id; `{other}` and `{site.name}` both have "
                f"{site.id:016x}. Rename one of the two modules."
            )


def _how_to_get_sites(model: torch.nn.Module) -> str:
    if any("named_modules" in module.__dict__ for module in model.modules()):  # a conversion's
        return (
            "It is converted, but calls of functions become sites only when a forward makes them: "
            "call redrop.integrations.find_sites(model, example_inputs) first, or "
            "convert(model, example_inputs)."
        )
    if _plain_dropout(model):
        return (
            "Use redrop.nn.Dropout in place of torch.nn.Dropout, or call "
            "redrop.integrations.convert(model) first."
        )
    return (
        "Add redrop.nn.Dropout; or if its forwards call functions that drop (F.dropout, "
        "scaled_dot_product_attention), call redrop.integrations.convert(model, example_inputs) "
        "first."
    )


def _warn_of_plain_dropout(model: torch.nn.Module) -> None:
    plain = _plain_dropout(model)
    if plain:
        warnings.warn(
            f"{len(plain)} dropout layers are torch's own and stay outside the run, so their masks "
            f"cannot be replayed: {', '.join(plain[:3])}{', …' if len(plain) > 3 else ''}. Use "
            "redrop.nn.Dropout, or call redrop.integrations.convert(model) before attaching.",
            stacklevel=3,
        )


def _plain_dropout(model: torch.nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if _drops_outside(module)]


def _drops_outside(module: torch.nn.Module) -> bool:
    p = 0.0
    if isinstance(module, torch.nn.modules.dropout._DropoutNd):
        p = module.p
    elif isinstance(module, torch.nn.MultiheadAttention):
        p = module.dropout
    # A forward of its own is what conversion gives a layer whose function calls are sites.
    return p > 0 and not isinstance(module, SiteModule) and "forward" not in module.__dict__
