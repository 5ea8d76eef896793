"""What people expect beside the loss: accuracy, F1, calibration; RMSE, MAE, R²."""

import torch
from torch import Tensor

BINS = 15
"""Of the calibration error, as in Guo et al. 2017."""


class NoScorer:
    """Nothing beside the loss."""

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Leave the batch to the loss."""

    def results(self) -> dict[str, float]:
        """Return no metric."""
        return {}


class TokenScorer:
    """The share of tokens whose most probable guess is right."""

    def __init__(self) -> None:
        self._right = 0
        self._count = 0

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch; targets of -100 are left out."""
        is_counted = targets != -100
        self._right += int(((outputs.argmax(-1) == targets) & is_counted).sum())
        self._count += int(is_counted.sum())

    def results(self) -> dict[str, float]:
        """Return {"accuracy": …}."""
        return {"accuracy": self._right / max(1, self._count)}


class ClassScorer:
    """Accuracy, macro-averaged F1 and the expected calibration error.

    F1 of a class = 2 · hits / (2 · hits + false alarms + misses); the macro average takes the
    classes that occur in targets or predictions, as scikit-learn does. The calibration error is the
    mean, weighted by samples, over 15 equal bins of confidence of |accuracy − confidence|.

    References:
        Guo et al.: On Calibration of Modern Neural Networks, 2017.
        https://arxiv.org/abs/1706.04599

    >>> scorer = ClassScorer()
    >>> scorer.add(torch.tensor([[9.0, 0.0], [0.0, 9.0], [0.0, 9.0]]), torch.tensor([0, 1, 0]))
    >>> {name: round(value, 3) for name, value in scorer.results().items()}
    {'accuracy': 0.667, 'macro_f1': 0.667, 'calibration_error': 0.333}
    """

    def __init__(self) -> None:
        self._probabilities: list[Tensor] = []
        self._targets: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take note of one batch of logits and classes."""
        self._probabilities.append(outputs.softmax(-1))
        self._targets.append(targets)

    def results(self) -> dict[str, float]:
        """Return the metrics over all batches."""
        probabilities, targets = torch.cat(self._probabilities), torch.cat(self._targets)
        confidence, guesses = probabilities.max(-1)
        is_right = guesses == targets
        return {
            "accuracy": is_right.double().mean().item(),
            "macro_f1": _macro_f1(guesses, targets),
            "calibration_error": _calibration_error(confidence.double(), is_right.double()),
        }


class ValueScorer:
    """Root mean squared error, mean absolute error and R², in the user's units.

    R² = 1 − Σ (y − ŷ)² / Σ (y − ȳ)², over the evaluated part.

    Args:
        scale: What one unit of outputs and targets is in the user's units.
    """

    def __init__(self, scale: float) -> None:
        self._scale = scale
        self._errors: list[Tensor] = []
        self._targets: list[Tensor] = []

    def add(self, outputs: Tensor, targets: Tensor) -> None:
        """Take note of one batch of predicted and true values."""
        self._errors.append((outputs.reshape(targets.shape) - targets).double() * self._scale)
        self._targets.append(targets.double() * self._scale)

    def results(self) -> dict[str, float]:
        """Return the metrics over all batches; R² of constant targets is NaN."""
        errors, targets = torch.cat(self._errors), torch.cat(self._targets)
        spread = (targets - targets.mean()).square().sum()
        return {
            "rmse": errors.square().mean().sqrt().item(),
            "mae": errors.abs().mean().item(),
            "r2": (1 - errors.square().sum() / spread).item(),
        }


def _macro_f1(guesses: Tensor, targets: Tensor) -> float:
    seen = torch.cat([guesses, targets]).unique().tolist()
    scores = []
    for number in seen:
        is_guess, is_target = guesses == number, targets == number
        hits = (is_guess & is_target).sum().item()
        scores.append(2 * hits / (is_guess.sum().item() + is_target.sum().item()))
    return float(sum(scores) / len(scores))


def _calibration_error(confidence: Tensor, is_right: Tensor) -> float:
    bins = (confidence * BINS).ceil().clamp(1, BINS).long() - 1
    error = 0.0
    for number in bins.unique().tolist():
        inside = bins == number
        difference = is_right[inside].mean() - confidence[inside].mean()
        error += inside.double().mean().item() * abs(difference.item())
    return error
