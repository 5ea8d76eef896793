"""A user's own data: from whatever their function returns to batches by (seed, step).

What can be indexed is drawn anew here, epoch by epoch, with the collate function of the loader, so
that a batch is a pure function of (seed, step) and every arm reads the same ones; random transforms
inside a data set draw from generators that (seed, step) seed. What can only be iterated is read
once, and its batches come in a new order in every epoch.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    TensorDataset,
    default_collate,
)

from redrop.errors import UsageError
from redrop.integrations.load_object import first_line
from redrop.tasks.seeded import seeded
from redrop.tasks.source import Source, collate_items

MOST_BATCHES = 100_000
"""Of an iterable, which is held in memory; one that never ends is refused here."""

PARTS = ("train", "validation", "test")


def read_loaders(returned: Any) -> dict[str, Source]:
    """Return the parts of what a user's function returned.

    Args:
        returned: (train, validation) or (train, validation, test), or a mapping of these names.
            Each a DataLoader, a Dataset, a list of (input, target) pairs, a pair of tensors, or an
            iterable of batches. Without test data nothing is reported on them. A loader's sampler
            says which samples there are, not their order; what it draws at random is drawn once.

    Raises:
        UsageError: It is something else, or a part yields nothing.

    >>> parts = read_loaders(([(1.0, 0)] * 8, [(1.0, 0)]))
    >>> len(parts["train"]), len(parts["validation"])
    (8, 1)
    """
    if isinstance(returned, Mapping):
        parts = dict(returned)
    elif isinstance(returned, Sequence) and 2 <= len(returned) <= 3:
        parts = dict(zip(PARTS, returned, strict=False))
    else:
        parts = {}
    if not {"train", "validation"} <= parts.keys() <= set(PARTS):
        raise UsageError(
            "A function of loaders returns (train, validation) or (train, validation, test), or a "
            f"mapping of these names; got {type(returned).__name__}."
        )
    with seeded(0):  # whatever is drawn is drawn alike by every process of a study
        return {name: _source(part, name) for name, part in parts.items()}


def _source(part: Any, name: str) -> Source:
    collate: Callable[[list[Any]], Any] | None = collate_items
    batch_size = None
    if isinstance(part, DataLoader):
        batch_size = part.batch_size
        if _is_indexed(part):
            part, collate = _sampled(part), part.collate_fn
        else:
            part = _in_this_process(part)
    elif isinstance(part, tuple) and part and all(isinstance(each, Tensor) for each in part):
        if len({len(each) for each in part}) > 1:
            raise UsageError(
                f"The tensors of the {name} data need one row per sample; got "
                f"{', '.join(str(tuple(each.shape)) for each in part)}."
            )
        part, collate = TensorDataset(*part), default_collate
    if isinstance(part, IterableDataset):
        part = _listed(part, name)
    elif not (hasattr(part, "__getitem__") and hasattr(part, "__len__")):
        if not isinstance(part, Iterable):
            raise UsageError(
                f"The {name} data must be a DataLoader, a Dataset, a list or an iterable of "
                f"batches; got {type(part).__name__}."
            )
        part, collate = _listed(part, name), None
    if len(part) == 0:
        raise UsageError(f"The {name} loader yields nothing. Give it at least one batch.")
    return Source(part, collate, batch_size)


def _is_indexed(loader: Any) -> bool:
    """Say whether samples can be drawn from its data set as the loader itself would."""
    is_plain = type(loader.batch_sampler) is BatchSampler  # None where it makes no batches
    return is_plain and not isinstance(loader.dataset, IterableDataset)


def _sampled(loader: Any) -> Any:
    """Return the data set, or the part of it that the loader's sampler names."""
    sampler = loader.sampler
    if isinstance(sampler, RandomSampler):
        is_whole = not sampler.replacement and sampler.num_samples == len(loader.dataset)
    else:
        is_whole = isinstance(sampler, SequentialSampler)
    return loader.dataset if is_whole else Subset(loader.dataset, [int(i) for i in sampler])


def _in_this_process(loader: Any) -> Any:
    """Return the loader without workers: a run is a worker itself, and may have none."""
    shared = {"collate_fn": loader.collate_fn, "num_workers": 0}
    if isinstance(loader.dataset, IterableDataset):
        sizes = {"batch_size": loader.batch_size, "drop_last": loader.drop_last}
        return DataLoader(loader.dataset, **sizes, **shared)
    if loader.batch_sampler is None:
        return DataLoader(loader.dataset, batch_size=None, sampler=loader.sampler, **shared)
    return DataLoader(loader.dataset, batch_sampler=loader.batch_sampler, **shared)


def _listed(batches: Iterable[Any], name: str) -> list[Any]:
    listed = []
    try:
        for batch in batches:
            listed.append(batch)
            if len(listed) > MOST_BATCHES:
                break
    except Exception as error:  # whatever the user's loader raises
        raise UsageError(f"The {name} loader failed: {first_line(error)}.") from error
    if len(listed) > MOST_BATCHES:
        raise UsageError(
            f"The {name} loader yields more than {MOST_BATCHES:,} batches, or never ends. Give "
            "a Dataset with a length."
        )
    return listed
