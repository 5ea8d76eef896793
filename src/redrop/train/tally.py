"""What the training steps since the last evaluation looked like."""

import torch
from torch import Tensor


class Tally:
    """Loss and gradient norm of each step, kept as tensors: a step waits for no number.

    >>> tally = Tally()
    >>> for loss, norm in [(3.0, 0.5), (2.0, 1.5)]:
    ...     tally.add(torch.tensor(loss), torch.tensor(norm), torch.tensor(norm > 1.0))
    >>> tally.mean_loss, tally.mean_norm, tally.clipped_share
    (2.5, 1.0, 0.5)
    """

    def __init__(self) -> None:
        self._losses: list[Tensor] = []
        self._norms: list[Tensor] = []
        self._clipped: list[Tensor] = []

    def add(self, loss: Tensor, norm: Tensor, is_clipped: Tensor) -> None:
        """Note one step: its loss, its gradient norm before clipping, whether that was clipped."""
        self._losses.append(loss.detach())
        self._norms.append(norm)
        self._clipped.append(is_clipped.double())

    @property
    def mean_loss(self) -> float:
        """Mean of the losses, in training mode."""
        return _mean(self._losses)

    @property
    def mean_norm(self) -> float:
        """Mean of the gradient norms before clipping."""
        return _mean(self._norms)

    @property
    def clipped_share(self) -> float:
        """Share of the steps whose gradient was clipped, by norm or by value."""
        return _mean(self._clipped)

    @property
    def finite_steps(self) -> int:
        """Number of steps before the first loss that is NaN or infinite; all of them if none is."""
        is_finite = torch.isfinite(_stack(self._losses)).tolist()
        return is_finite.index(False) if False in is_finite else len(is_finite)

    def clear(self) -> None:
        """Forget all steps: an evaluation has reported them."""
        self._losses.clear()
        self._norms.clear()
        self._clipped.clear()

    def __len__(self) -> int:
        return len(self._losses)

    def to_tensors(self) -> dict[str, Tensor]:
        """Return the notes as a checkpoint keeps them."""
        return {
            "losses": _stack(self._losses),
            "norms": _stack(self._norms),
            "clipped": _stack(self._clipped),
        }

    def load_tensors(self, stored: dict[str, Tensor]) -> None:
        """Go on where `to_tensors` was taken."""
        self._losses = list(stored["losses"].unbind())
        self._norms = list(stored["norms"].unbind())
        self._clipped = list(stored["clipped"].unbind())


def _stack(values: list[Tensor]) -> Tensor:
    return torch.stack(values) if values else torch.empty(0)


def _mean(values: list[Tensor]) -> float:
    return _stack(values).double().mean().item()
