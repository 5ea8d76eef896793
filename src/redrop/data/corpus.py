"""A corpus: tokens in three parts, the tokenizer that made them, and where they came from."""

from dataclasses import dataclass

from torch import Tensor

from redrop.data.tokenizer import Tokenizer
from redrop.errors import UsageError


@dataclass(frozen=True, kw_only=True, eq=False)
class Corpus:
    """Everything a run reads.

    Args:
        name: `reference`, `markov:16000`, or the name of the file or folder.
        sha256: Of the text used, cut and normalised, or of the generated symbols.
        tokenizer: Encodes prompts and decodes what the network writes.
        train: Tokens to learn from, int64, one dimension. No token of one part is in another.
        validation: Tokens to choose by: early stopping, the best of several arms.
        test: Tokens to report on, once.
        bayes_loss: Least expected loss in nats per token with enough context (the entropy rate),
            where it is known.
        opening_loss: The same for the first target of a window, which has one token of context.
    """

    name: str
    sha256: str
    tokenizer: Tokenizer
    train: Tensor
    validation: Tensor
    test: Tensor
    bayes_loss: float | None = None
    opening_loss: float | None = None

    def least_loss(self, context: int) -> float | None:
        """Return the least expected loss in nats per token over windows of `context` tokens.

        A window's first target is guessed from a single token, so

            least_loss = (opening_loss + (context − 1) · bayes_loss) / context,

        a little above `bayes_loss`; a network's excess is counted from here. None where unknown.
        """
        if self.bayes_loss is None or self.opening_loss is None:
            return None
        return (self.opening_loss + (context - 1) * self.bayes_loss) / context

    def check_context(self, context: int, advice: str = "Give more text,") -> None:
        """Raise UsageError unless every part fills at least one window and its last target."""
        parts = self._parts()
        if min(parts.values()) > context:
            return
        held = ", ".join(f"{part} {count}" for part, count in parts.items())
        raise UsageError(
            f"A context of {context} needs at least {context + 1} tokens in each part;"
            f" {self.name!r} is too short, with {held}. {advice} or a smaller context."
        )

    def describe(self) -> dict[str, object]:
        """Return what a record says about the data, ready for JSON."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "tokenizer": self.tokenizer.name,
            "vocab_size": self.tokenizer.vocab_size,
            "tokens": self._parts(),
            "bayes_loss": self.bayes_loss,
            "opening_loss": self.opening_loss,
        }

    def _parts(self) -> dict[str, int]:
        return {
            "train": self.train.numel(),
            "validation": self.validation.numel(),
            "test": self.test.numel(),
        }
