"""One part of a user's data, and how its items become batches."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Subset, TensorDataset, default_collate

from redrop.data.sample_batch import sample_indices
from redrop.errors import UsageError
from redrop.integrations.load_object import first_line
from redrop.mask.key import mask_key
from redrop.tasks.seeded import seeded
from redrop.train.task import Batch

HASHED = 4096
"""Items of a part that its digest reads, spread over the part."""

_SITE = "redrop.tasks.loaders"


@dataclass(frozen=True, eq=False)
class Source:
    """One part of the data.

    Args:
        items: Samples, or whole batches.
        collate: From a list of items to a batch; None where the items are batches.
        batch_size: That the user's loader had, or None.
    """

    items: Any
    collate: Callable[[list[Any]], Any] | None
    batch_size: int | None

    def __len__(self) -> int:
        return len(self.items)

    @cached_property
    def samples(self) -> int:
        """How many samples the items hold; batches may differ in size."""
        if self.collate is not None:
            return len(self)
        return sum(len(self._take([place], 0)) for place in range(len(self)))

    @cached_property
    def targets(self) -> int:
        """How many targets the items hold; samples are taken to be like the first two."""
        if self.collate is not None:
            example = self.first(2).targets
            return len(self) * (example.numel() // max(1, len(example)))
        return sum(self._take([place], 0).targets.numel() for place in range(len(self)))

    def batch(self, *, seed: int, step: int, batch_size: int) -> Batch:
        """Return the training batch of a step; of whole batches, one of them."""
        rows = batch_size if self.collate else 1
        indices = sample_indices(len(self), seed=seed, step=step, batch_size=rows).tolist()
        return self._take(indices, mask_key(seed, step, _SITE))

    def batches(self, batch_size: int, limit: int) -> Iterator[Batch]:
        """Yield about `limit` targets, the same ones at every call.

        Args:
            batch_size: Samples in a batch; whole batches are left as they are.
            limit: Their items are spread over the part, which may be sorted by class; one at least.
        """
        each = self.first(1).targets.numel()
        count = min(len(self), max(1, limit // max(1, each)))
        chosen = [number * len(self) // count for number in range(count)]
        rows = batch_size if self.collate else 1
        for place in range(0, count, rows):
            yield self._take(chosen[place : place + rows], place)

    def first(self, count: int) -> Batch:
        """Return the first samples, or the first batch."""
        return self._take(list(range(min(count if self.collate else 1, len(self)))), 0)

    def digest(self) -> str:
        """Return the SHA-256 of the number of items and of up to 4,096 of them."""
        whole = hashlib.sha256(str(len(self)).encode())
        count = min(len(self), HASHED)
        places = [number * len(self) // count for number in range(count)]
        if self._table is not None:
            _update(whole, self._rows(places))
            return whole.hexdigest()
        for place in places:
            with seeded(place):
                _update(whole, self._read([place])[0])
        return whole.hexdigest()

    def _take(self, indices: list[int], key: int) -> Batch:
        """Return a batch of items; their transforms draw from generators that a key seeds."""
        if self._table is not None:
            return as_batch(self._rows(indices))
        with seeded(key):
            items = self._read(indices)
            if self.collate is None:
                return as_batch(items[0])
            try:
                collated = self.collate(items)
            except Exception as error:  # whatever the user's function raises
                raise UsageError(
                    f"Your samples must fit into one batch: {first_line(error)}. Give a DataLoader "
                    "a `collate_fn` that makes them fit."
                ) from error
        return as_batch(collated)

    def _read(self, indices: list[int]) -> list[Any]:
        try:
            if hasattr(self.items, "__getitems__"):  # as torch's loaders do
                return list(self.items.__getitems__(indices))
            return [self.items[index] for index in indices]
        except Exception as error:  # whatever the user's data set raises
            raise UsageError(f"Reading your data failed: {first_line(error)}.") from error

    @cached_property
    def _table(self) -> tuple[tuple[Tensor, ...], Tensor | None] | None:
        """The tensors of a TensorDataset and, of a part of one, the rows: read without a loop."""
        if self.collate not in (default_collate, collate_items):
            return None
        items, rows = self.items, None
        while type(items) is Subset:
            own = torch.tensor([int(index) for index in items.indices])
            items, rows = items.dataset, own if rows is None else own[rows]
        return (items.tensors, rows) if type(items) is TensorDataset else None

    def _rows(self, indices: list[int]) -> list[Tensor]:
        assert self._table is not None
        tensors, rows = self._table
        chosen = torch.tensor(indices)
        chosen = chosen if rows is None else rows[chosen]
        return [tensor[chosen] for tensor in tensors]


def as_batch(collated: Any) -> Batch:
    """Return what a loader yields as a batch: (inputs, targets), or a mapping with "labels".

    Targets stand at the places of the outputs they belong to: nothing is shifted here.

    Raises:
        UsageError: It is neither.

    >>> len(as_batch({"ids": torch.zeros(2, 3), "labels": torch.zeros(2)}))
    2
    """
    if isinstance(collated, Mapping) and "labels" in collated:
        inputs: Any = {name: value for name, value in collated.items() if name != "labels"}
        return Batch(inputs, _targets(collated["labels"]))
    if isinstance(collated, Sequence) and not isinstance(collated, str) and len(collated) == 2:
        return Batch(collated[0], _targets(collated[1]))
    raise UsageError(
        "A loader yields (inputs, targets), or a mapping with `labels`; got "
        f"{type(collated).__name__}. Pack several inputs into one mapping of names."
    )


def _targets(given: Any) -> Tensor:
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError) as error:
        raise UsageError(
            f"Targets must be numbers in a tensor; got {type(given).__name__}. Turn words into "
            "numbers of classes."
        ) from error


def collate_items(items: list[Any]) -> Any:
    """Return a batch of items that came without a loader; lists in mappings become tensors."""
    if isinstance(items[0], Mapping):
        items = [
            {k: torch.as_tensor(v) if isinstance(v, list) else v for k, v in item.items()}
            for item in items
        ]
    return default_collate(items)


def _update(digest: Any, item: Any) -> None:
    if isinstance(item, Tensor):
        digest.update(repr((item.dtype, tuple(item.shape))).encode())
        content = item.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(content.numpy().tobytes())
    elif isinstance(item, Mapping):
        for key in sorted(item):
            digest.update(str(key).encode())
            _update(digest, item[key])
    elif isinstance(item, (list, tuple)):
        for each in item:
            _update(digest, each)
    elif isinstance(item, (bool, int, float, complex, str, bytes, type(None))):
        digest.update(repr(item).encode())
    else:  # arrays, and images that can be one; the repr of an object may hold its address
        array = np.asarray(item)
        digest.update(f"{type(item).__name__} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes() if array.dtype != object else b"")
