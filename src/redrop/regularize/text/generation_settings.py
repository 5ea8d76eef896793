"""How a model writes sentences anew: beam search, or sampling that belongs to the sentence."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

from redrop.errors import UsageError

Progress = Callable[[str, int, int], None]
"""Called with (model, sentences done, sentences in all): before the first batch and after each."""

PROMPT = "paraphrase: "
"""Common among T5 models fine-tuned on pairs of paraphrases; a model's card says what it wants."""

TEMPERATURE_MOST = 10.0


@dataclass(frozen=True, kw_only=True)
class GenerationSettings:
    """How sentences are generated; everything but `batch_size` decides what comes out.

    Sampling is the default: sampled back-translations taught Edunov et al. more than beam search
    did, unless the model was poor. At `temperature` 0 there is no chance, and `beams` counts.

    Args:
        temperature: Of sampling from all words; 0 takes the best sequence instead.
        beams: Of beam search; 1 takes the best word each time. Not together with sampling.
        longest: A sentence of more tokens is left as it is: models cut what they cannot read.
        new_tokens: Most tokens that are written for one sentence; a model may have room for less.
        batch_size: Sentences at a time. Moves results by no more than rounding.

    Raises:
        UsageError: A number is out of range, or beams and sampling are asked for at once.

    References:
        Edunov et al.: Understanding Back-Translation at Scale. EMNLP 2018.
        https://arxiv.org/abs/1808.09381

    >>> GenerationSettings(temperature=0, beams=4).is_sampled
    False
    """

    temperature: float = 1.0
    beams: int = 1
    longest: int = 256
    new_tokens: int = 256
    batch_size: int = 16

    def __post_init__(self) -> None:
        for name in ("beams", "longest", "new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"`{name}` must be at least 1; got {getattr(self, name)}. Leave it out for"
                    f" {getattr(GenerationSettings, name)}."
                )
        if not 0.0 <= self.temperature <= TEMPERATURE_MOST:  # refuses NaN too
            raise UsageError(
                f"`temperature` must lie in [0, {TEMPERATURE_MOST:g}]; got {self.temperature}."
                " Pass 1 to sample as the model says, 0 for beam search."
            )
        if self.is_sampled and self.beams > 1:
            raise UsageError(
                f"`beams` search for the best text and `temperature` samples; got beams="
                f"{self.beams} and temperature={self.temperature}. Pass temperature=0 with beams."
            )

    @property
    def is_sampled(self) -> bool:
        """Whether chance is in it."""
        return self.temperature > 0

    def identity(self) -> dict[str, object]:
        """Return what decides the text, for the key of a cache."""
        return {name: value for name, value in asdict(self).items() if name != "batch_size"}
