"""How a run ended."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

Status = Literal["done", "stopped early", "diverged"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The last line of a run's record. Losses in the task's unit, None where not finite.

    Args:
        status: "done" after all steps, "stopped early" by patience, "diverged" at a loss of NaN or
            infinity.
        steps: Optimizer steps whose loss was finite.
        best_step: Steps done at the lowest validation loss.
        test_loss_best: On test data, with the weights of the best step.
        test_loss_final: On test data, with the last weights.
        seconds: Over all sittings of the run.
        tokens: Targets read in training: tokens of a text, samples of other data.
        test_metrics_best: What the task measures besides the loss, with the best weights.
        test_metrics_final: The same with the last weights.
    """

    status: Status
    steps: int
    best_step: int | None
    best_validation_loss: float | None
    final_validation_loss: float | None
    test_loss_best: float | None
    test_loss_final: float | None
    seconds: float
    tokens: int
    test_metrics_best: Mapping[str, float | None]
    test_metrics_final: Mapping[str, float | None]

    def to_event(self) -> dict[str, Any]:
        """Return the record line.

        >>> Result(status="done", steps=1, best_step=1, best_validation_loss=2.5,
        ...     final_validation_loss=2.5, test_loss_best=2.6, test_loss_final=2.6,
        ...     seconds=0.1, tokens=64, test_metrics_best={},
        ...     test_metrics_final={}).to_event()["kind"]
        'end'
        """
        return {"kind": "end", **asdict(self)}

    @classmethod
    def from_event(cls, event: Mapping[str, Any]) -> Self:
        """Return the result whose `to_event` this is."""
        return cls(**{key: value for key, value in event.items() if key != "kind"})
