"""Monte Carlo dropout: predict many times with dropout on, and see how far the answers differ.

The passes run in batches: row r = pass · B + b of the repeated input is sample b of a pass, and its
index in the global batch of step 0 is r. A pass therefore has the same masks however the rows are
cut into forwards. Layers that decide once for all samples (DropConnect, LayerDrop) cannot tell the
passes of one forward apart; in a model with one of them each pass is a step, with forwards of its
own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from redrop.errors import UsageError
from redrop.mask.key import mask_key
from redrop.mask.window import Window
from redrop.nn.drop_connect import DropConnect
from redrop.nn.layer_drop import LayerDrop
from redrop.nn.module import SiteModule
from redrop.nn.site import NextMask, Site, draw
from redrop.nn.state import RunState


@dataclass(frozen=True, slots=True)
class McPrediction:
    """What the passes say together about each of B samples.

    Args:
        mean: Mean over the passes, (B, …): of the outputs, or of the class probabilities.
        spread: Their standard deviation over the passes (with passes - 1), of the same shape.
        entropy: Of the mean probabilities, in nats, (B, …) without the classes: uncertainty of any
            cause. None in regression.
        mutual_information: Between class and mask, in nats, the same shape: the part of the entropy
            that comes from the masks, 0 where all passes agree. None in regression.
    """

    mean: Tensor
    spread: Tensor
    entropy: Tensor | None = None
    mutual_information: Tensor | None = None


def mc_predict(
    model: torch.nn.Module,
    x: Tensor,
    passes: int = 32,
    *,
    seed: int | None = None,
    kind: Literal["classification", "regression"] = "classification",
    batch_size: int = 256,
) -> McPrediction:
    """Predict `passes` times with dropout on and everything else in eval mode.

    Only dropout layers are switched on, redrop's and torch's; norms use their running statistics
    and do not move them. Afterwards modes, masks to come and torch's generator are as they were.

    The spread depends on the rates the model was given; it is no error bar by itself, and more data
    do not make it vanish. Deep ensembles are the stronger baseline wherever several trainings can
    be paid for, above all on data unlike the training data. Nor must the mean predict better than
    one pass in eval mode.

    Args:
        model: From (B, …) to outputs (B, …), or logits (B, …, classes), samples first. Dropout that
            it calls as a function has no layer and stays off.
        x: Samples first.
        passes: At least 2.
        seed: Of the masks; by default drawn from torch's generator.
        kind: "classification" takes the softmax of the last dimension first.
        batch_size: Most rows of one forward. All outputs are in memory together at the end.

    Randomness:
        (seed, site, pass, sample) decide the masks of redrop's layers, attached or not, for any
        `batch_size`; the first passes of a longer call are those of a shorter one. Torch's own
        layers draw from its generator, seeded with `seed`: repeatable for the same `batch_size`.

    Raises:
        UsageError: The model has no dropout that could act, a number is out of range, or the
            samples do not come first.

    References:
        Gal, Ghahramani: Dropout as a Bayesian Approximation, 2016.
        https://arxiv.org/abs/1506.02142
        Osband: Risk versus Uncertainty in Deep Learning, 2016 (what it does not measure).
        Lakshminarayanan et al.: Simple and Scalable Predictive Uncertainty Estimation using Deep
        Ensembles, 2017. https://arxiv.org/abs/1612.01474

    >>> from redrop.nn.dropout import Dropout
    >>> model = torch.nn.Sequential(Dropout(0.5), torch.nn.Linear(8, 3))
    >>> prediction = mc_predict(model, torch.ones(4, 8), seed=1)
    >>> prediction.mean.shape, prediction.entropy.shape
    (torch.Size([4, 3]), torch.Size([4]))
    """
    if kind not in ("classification", "regression"):
        raise UsageError(f'`kind` must be "classification" or "regression"; got {kind!r}.')
    samples = mc_samples(model, x, passes, seed=seed, batch_size=batch_size)
    return summarize_values(samples) if kind == "regression" else summarize_logits(samples)


@contextmanager
def dropout_on(model: torch.nn.Module) -> Iterator[None]:
    """Switch dropout on, all else to eval mode, and gradients off; give each module its mode back.

    Only layers with a rate above 0 count, redrop's and torch's.

    >>> from redrop.nn.dropout import Dropout
    >>> model = torch.nn.Sequential(Dropout(0.5), torch.nn.BatchNorm1d(8))
    >>> with dropout_on(model):
    ...     [module.training for module in model]
    [True, False]
    """
    with _only_on(model, _active(model)), torch.no_grad():
        yield


def mc_samples(
    model: torch.nn.Module,
    x: Tensor,
    passes: int = 32,
    *,
    seed: int | None = None,
    batch_size: int = 256,
) -> Tensor:
    """Return the outputs of all passes, (passes, B, …); see `mc_predict`."""
    if passes < 2 or batch_size < 1 or x.dim() == 0 or len(x) == 0:
        raise UsageError(
            "`passes` must be at least 2, `batch_size` at least 1, and `x` needs a sample; got "
            f"{passes}, {batch_size} and shape {tuple(x.shape)}."
        )
    active = _active(model)
    if not active:
        raise UsageError(
            "MC dropout needs a dropout layer with a rate above 0; "
            f"{type(model).__name__} has none. Train it with dropout, or use an ensemble."
        )
    seed = int(draw()) if seed is None else seed
    mask_key(seed, 0, 0)  # refuses a seed out of range
    is_stepwise = any(isinstance(module, (DropConnect, LayerDrop)) for module in active.values())
    rows_per_step = len(x) if is_stepwise else passes * len(x)
    outputs = []
    with _sampling(model, active, seed, x.device) as run, torch.no_grad():
        for first, last in _chunks(passes * len(x), rows_per_step, batch_size):
            run.set_step(first // rows_per_step, sample_offset=first % rows_per_step)
            run.rows = last - first if batch_size < rows_per_step else None
            output = model(x[torch.arange(first, last, device=x.device) % len(x)])
            outputs.append(_check_output(output, last - first))
    samples: Tensor = torch.cat(outputs).unflatten(0, (passes, len(x)))
    return samples


def summarize_values(values: Tensor) -> McPrediction:
    """Return mean and spread over the first dimension.

    >>> summarize_values(torch.tensor([[1.0], [3.0]]))
    McPrediction(mean=tensor([2.]), spread=tensor([1.4142]), entropy=None, mutual_information=None)
    """
    spread, mean = torch.std_mean(values, dim=0)
    return McPrediction(mean, spread)


def summarize_logits(logits: Tensor) -> McPrediction:
    """Return what the logits (passes, B, …, classes) say, with p_s = softmax of pass s.

    mean = p̄ = 1/S Σ p_s;  entropy = H(p̄);  mutual information = H(p̄) - 1/S Σ H(p_s) >= 0, which
    is also the mean of KL(p_s ‖ p̄).

    Raises:
        UsageError: There is no dimension of classes.

    References:
        Houlsby et al.: Bayesian Active Learning for Classification and Preference Learning, 2011.
        https://arxiv.org/abs/1112.5745

    >>> sure_but_split = torch.tensor([[[50.0, 0.0]], [[0.0, 50.0]]])
    >>> prediction = summarize_logits(sure_but_split)
    >>> prediction.mean, prediction.mutual_information  # log 2
    (tensor([[0.5000, 0.5000]]), tensor([0.6931]))
    """
    if logits.dim() < 3:
        raise UsageError(
            "Classification needs logits (B, …, classes); got "
            f'{tuple(logits.shape[1:])}. Pass kind="regression" for plain values.'
        )
    wide = logits if logits.dtype == torch.float64 else logits.float()
    probabilities = wide.softmax(-1)
    spread, mean = torch.std_mean(probabilities, dim=0)
    entropy = torch.special.entr(mean).sum(-1)
    within = torch.special.entr(probabilities).sum(-1).mean(0)
    return McPrediction(mean, spread, entropy, (entropy - within).clamp(min=0.0))


def _active(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    return {name: module for name, module in model.named_modules() if _rate(module) > 0}


def _rate(module: torch.nn.Module) -> float:
    """Return the rate of a layer that in training mode drops and does nothing else."""
    p = 0.0
    if isinstance(module, (SiteModule, torch.nn.modules.dropout._DropoutNd)):
        p = module.p
    elif isinstance(module, (torch.nn.MultiheadAttention, torch.nn.RNNBase)):
        p = module.dropout
    return p


def _chunks(rows: int, rows_per_step: int, batch_size: int) -> Iterator[tuple[int, int]]:
    """Cut the rows of all passes into forwards; none has rows of two steps."""
    for start in range(0, rows, rows_per_step):
        end = start + rows_per_step
        for first in range(start, end, batch_size):
            yield first, min(first + batch_size, end)


def _check_output(output: object, rows: int) -> Tensor:
    if not isinstance(output, Tensor) or output.dim() == 0 or len(output) != rows:
        came = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(
            f"The model must give one tensor, samples first; got {came} for {rows} samples. "
            "Wrap it in a module that does."
        )
    return output


class _PassState(RunState):
    """Seed and step of the passes.

    Attributes:
        rows: Samples of the coming forward, which every site has to see first; None where that does
            not matter, because the forward is a whole step.
    """

    rows: int | None = None


class _PassSite(Site):
    def __init__(self, name: str, state: _PassState) -> None:
        super().__init__(name, state)
        self.run = state

    def next_mask(self) -> NextMask:
        mask = super().next_mask()
        if self.run.rows is None:
            return mask
        checked = _SamplesFirst(*mask)
        checked.site, checked.rows = self.name, self.run.rows
        return checked


class _SamplesFirst(NextMask):
    """A mask that looks at the shape it is used for: else passes could share parts of masks."""

    site: str
    rows: int

    def window(self, shape: torch.Size) -> Window | None:
        if len(shape) == 0 or shape[0] != self.rows:
            raise UsageError(
                "Passes are batched along the first dimension, so every site must have the samples "
                f"there; `{self.site}` got shape {tuple(shape)} for {self.rows} samples. Raise "
                "`batch_size` to passes · samples, which runs them in one forward."
            )
        return super().window(shape)


@contextmanager
def _sampling(
    model: torch.nn.Module, active: dict[str, torch.nn.Module], seed: int, device: torch.device
) -> Iterator[_PassState]:
    """Within it the active layers drop, as sites of a run of their own."""
    devices = [device] if device.type == "cuda" else []
    # Sites draw tickets from torch's generator, and torch's own layers draw their masks from it.
    with (
        _only_on(model, active),
        _own_run(active, seed) as run,
        torch.random.fork_rng(devices=devices),
    ):
        torch.manual_seed(seed)
        yield run


@contextmanager
def _only_on(model: torch.nn.Module, active: dict[str, torch.nn.Module]) -> Iterator[None]:
    modes = {module: module.training for module in model.modules()}
    # In eval mode torch's encoder layers take a path that never calls their dropout layers.
    had_fast_path = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        model.eval()
        for module in active.values():
            module.training = True
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(had_fast_path)
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _own_run(active: dict[str, torch.nn.Module], seed: int) -> Iterator[_PassState]:
    run = _PassState(seed)
    modules = {name: m for name, m in active.items() if isinstance(m, SiteModule)}
    before = {name: module.site for name, module in modules.items()}
    states = {site.state for site in before.values() if site is not None}
    counting = {state: state._counts_forwards for state in states}
    try:
        for state in states:  # an attached module that is itself a site counts its forwards
            state._counts_forwards = False
        for name, module in modules.items():
            module.site = run.sites[name] = _PassSite(name or type(module).__name__, run)
        yield run
    finally:
        for state, counts in counting.items():
            state._counts_forwards = counts
        for name, module in modules.items():
            module.site = before[name]
