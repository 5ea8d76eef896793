"""What the training steps since the last evaluation looked like."""

import torch
from torch import Tensor


class Tally:
    """Loss and gradient norm of each step, kept as tensors: a step waits for no number.

    >>> tally = Tally()
    >>> for loss, norm in [(3.0, 0.5), (2.0, 1.5)]:
    ...     tally.add(torch.tensor(loss), torch.tensor(norm))
    >>> tally.mean_loss, tally.mean_norm, tally.share_above(1.0)
    (2.5, 1.0, 0.5)
    """

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []

    def add(self, loss: Tensor, norm: Tensor) -> None:
        """Note one step."""
        self._losses.append(loss.detach())
        self._norms.append(norm)

    @property
    def mean_loss(self) -> float:
        """Mean of the losses, in training mode."""
        return _mean(self._losses)

    @property
    def mean_norm(self) -> float:
        """Mean of the gradient norms before clipping."""
        return _mean(self._norms)

    def share_above(self, norm: float) -> float:
        """Return the share of steps whose gradient norm was larger than `norm`."""
        return _mean([(n > norm).double() for n in self._norms])

    @property
    def finite_steps(self) -> int:
        """Number of steps before the first loss that is NaN or infinite; all of them if none is."""
        is_finite = torch.isfinite(_stack(self._losses)).tolist()
        return is_finite.index(False) if False in is_finite else len(is_finite)

    def clear(self) -> None:
        """Forget all steps: an evaluation has reported them."""
        self._losses.clear()
        self._norms.clear()

    def __len__(self) -> int:
        return len(self._losses)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the notes as a checkpoint keeps them."""
        return {"losses": _stack(self._losses), "norms": _stack(self._norms)}

    def load_tensors(self, stored: dict[str, Tensor]) -> None:
        """Go on where `to_tensors` was taken."""
        self._losses = list(stored["losses"].unbind())
        self._norms = list(stored["norms"].unbind())


def _stack(values: list[Tensor]) -> Tensor:
    return torch.stack(values) if values else torch.empty(0)


def _mean(values: list[Tensor]) -> float:
    return _stack(values).double().mean().item()
