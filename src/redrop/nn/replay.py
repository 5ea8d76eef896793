"""The keep mask of any site of an attached model, at any step."""

from collections.abc import Sequence

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.key import mask_key
from redrop.nn.module import SiteModule


def replay(
    model: torch.nn.Module,
    site: str,
    *,
    step: int,
    shape: Sequence[int],
    p: float | None = None,
    pass_: int = 0,
) -> Tensor:
    """Return the keep mask that `site` of an attached model uses at `step`.

    Args:
        model: Attached with `redrop.attach`.
        site: Qualified name of the dropout module.
        step: Any step, past or to come.
        shape: Of the tensor that is dropped there.
        p: Probability of dropping; by default the module's present one.
        pass_: Which use of the site in that step, 0 for the first.

    Returns:
        A boolean tensor, True where an element is kept. Of `GaussianDropout`, which keeps all, the
        factors in float64.

    Raises:
        UsageError: There is no such site, the model is not attached, or the site has no rule for
            the shape.

    >>> from redrop.nn import Dropout, attach
    >>> model = torch.nn.Sequential(torch.nn.Linear(4, 4), Dropout(0.5))
    >>> _ = attach(model, seed=1)
    >>> replay(model, "1", step=0, shape=(2, 4)).dtype
    torch.bool
    """
    sites = {m.site.name: m for m in model.modules() if isinstance(m, SiteModule) and m.site}
    if site not in sites:
        known = ", ".join(sites) or "none: attach the model with `redrop.attach(model, seed=…)`"
        raise UsageError(f"`site` must name a site of the model; got {site!r}. Sites: {known}.")
    try:
        sizes = tuple(shape)
    except TypeError:
        raise UsageError(
            f"`shape` must have one size per dimension; got {shape!r}. Pass ({shape!r},)."
        ) from None
    module = sites[site]
    assert module.site is not None  # by the selection above
    key = mask_key(module.site.state.seed, step, site, pass_)
    return module.mask_of(key, module.p if p is None else p, sizes)
