"""The task of a language model: guess the next token of a text."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from redrop.data import Corpus, batch
from redrop.data.batch import eval_batches
from redrop.errors import UsageError
from redrop.models.config import TransformerConfig
from redrop.models.transformer import Transformer
from redrop.regularize.text.token_noise import mask_tokens, replace_tokens, unseen_id
from redrop.tasks.augment_corpus import augment_corpus, text_augmentation
from redrop.tasks.configure import configure
from redrop.tasks.metrics import TokenScorer
from redrop.train.loss import cross_entropy
from redrop.train.recipe import Recipe
from redrop.train.task import Batch, PartName

EVALUATED_ROWS = 32
"""Windows evaluated at a time."""


@dataclass(frozen=True, eq=False)
class TextTask:
    """A corpus, a transformer, and what is done to the training text.

    Args:
        corpus: What is read; with copies in its training part where the recipe asks for them.
        model: Of the network; its vocabulary is the corpus's.
        augment: Strength of each augmentation.

    Raises:
        UsageError: The corpus is too short for the context, or has another vocabulary.
    """

    corpus: Corpus
    model: TransformerConfig
    augment: Mapping[str, Any] = field(default_factory=dict)

    unit = "nats per token"
    is_classification = True

    def __post_init__(self) -> None:
        if self.model.vocab_size != self.corpus.tokenizer.vocab_size:
            raise UsageError(
                "A model needs its corpus's vocabulary; `vocab_size` is "
                f"{self.model.vocab_size} and {self.corpus.name!r} has "
                f"{self.corpus.tokenizer.vocab_size} tokens. Pass the latter."
            )
        self.corpus.check_context(self.model.context)

    @property
    def name(self) -> str:
        """Of the corpus."""
        return self.corpus.name

    @property
    def sha256(self) -> str:
        """Of the corpus."""
        return self.corpus.sha256

    def check(self, recipe: Recipe) -> None:
        """Raise UsageError unless a recipe fits; no text is rewritten by a model for that."""
        configure(self.model, recipe)
        if text_augmentation(recipe.augment).mask:
            unseen_id(self.corpus.tokenizer)

    def with_recipe(self, recipe: Recipe, seed: int = 0) -> "TextTask":
        """Return the task with a recipe's network and augmentation.

        Args:
            recipe: Of the run.
            seed: Of the run, for the copies of the training text.

        Raises:
            UsageError: The recipe does not fit, or a model that rewrites text cannot be used.
        """
        model, augment = configure(self.model, recipe), dict(recipe.augment)
        spec = text_augmentation(augment)
        corpus = augment_corpus(self.corpus, spec, seed) if spec.changes_text else self.corpus
        return replace(self, corpus=corpus, model=model, augment=augment)

    def describe(self) -> dict[str, Any]:
        """Return what a record says about the data."""
        described = self.corpus.describe()
        return {**described, "train_targets": self.corpus.train.numel(), "unit": self.unit}

    def settings(self) -> dict[str, Any]:
        """Return network and augmentation as JSON."""
        return {"model": asdict(self.model), "augment": dict(self.augment)}

    def state(self) -> dict[str, Any]:
        """Return the tokenizer."""
        return {"tokenizer": self.corpus.tokenizer.to_json()}

    def build(self, seed: int) -> nn.Module:
        """Return the transformer."""
        return Transformer(self.model, seed=seed)

    def batch(self, *, seed: int, step: int, batch_size: int) -> Batch:
        """Return windows of the training text; noise hides inputs, never targets."""
        tokens, context = self.corpus.train, self.model.context
        inputs, targets = batch(
            tokens, seed=seed, step=step, batch_size=batch_size, context=context
        )
        if self.augment.get("mask"):
            hidden = unseen_id(self.corpus.tokenizer)
            inputs = mask_tokens(inputs, self.augment["mask"], hidden, seed=seed, step=step)
        if self.augment.get("replace"):
            inputs = replace_tokens(inputs, self.augment["replace"], tokens, seed=seed, step=step)
        return Batch(inputs, targets)

    def part(self, name: PartName, limit: int) -> Sequence[Batch]:
        """Return windows of a part that do not overlap."""
        tokens = getattr(self.corpus, name)
        windows = eval_batches(tokens, self.model.context, EVALUATED_ROWS, limit)
        return [Batch(inputs, targets) for inputs, targets in windows]

    def outputs(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return the logits of the token after each token."""
        logits: Tensor = model(inputs)
        return logits

    def loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy in nats per token."""
        return cross_entropy(outputs, targets, label_smoothing)

    def scorer(self) -> TokenScorer:
        """Return a counter of right guesses."""
        return TokenScorer()
