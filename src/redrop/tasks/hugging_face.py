"""A Hugging Face causal model on the user's text."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from redrop.data import Corpus
from redrop.data.bpe_tokenizer import BPETokenizer
from redrop.errors import UsageError
from redrop.integrations import Conversion, convert, load_causal_lm
from redrop.integrations.hugging_face import quiet_transformers, vocab_size
from redrop.models.config import TransformerConfig
from redrop.models.mode import eval_mode
from redrop.regularize.text.token_noise import unseen_id
from redrop.tasks.augment_corpus import augment_corpus, text_augmentation
from redrop.tasks.known_model import Look, Looks, key_of, trainable, with_rates
from redrop.tasks.text import TextTask
from redrop.train.recipe import Recipe

PREFIX = "hf:"
OWN_RATES = "rates"

_TRIED_TOKENS = 8
_ROUNDING = 1e-5
"""Of the largest logit; float32 rounds at 1e-7, and a model's layers add some of that up."""


@dataclass(frozen=True, eq=False)
class CausalTask(TextTask):
    """A corpus and a causal language model of transformers, converted to redrop's dropout.

    Args:
        source: What `load_causal_lm` reads: a folder, a configuration, or a type of model.
        dropout: Rate by kind of site, by pattern of names, or for all.
        keeps_rates: Leave the model's own rates.
        weights: SHA-256 of what lies in the model's folder, empty where there is none.
    """

    source: str = ""
    dropout: Mapping[str, float] = field(default_factory=dict)
    keeps_rates: bool = False
    weights: str = ""

    @property
    def sha256(self) -> str:
        """Of the corpus, and of the weights that training begins with."""
        both = f"{self.corpus.sha256} {self.weights}"
        return hashlib.sha256(both.encode()).hexdigest() if self.weights else self.corpus.sha256

    def describe(self) -> dict[str, Any]:
        """Return what a record says about the data."""
        return {**super().describe(), "sha256": self.sha256}

    def check(self, *recipes: Recipe) -> None:
        """Raise UsageError unless recipes fit; no text is rewritten by a model for that.

        What is known to fit is not built again, and all that is not shares one model.
        """
        tasks = [self.with_recipe(replace(recipe, augment={})) for recipe in recipes]
        unknown = [each for each in tasks if key_of(each.settings()) not in self._looks.fitting]
        if unknown:
            self._looks.seen[""] = self._look(unknown)
            self._looks.fitting.update(key_of(task.settings()) for task in unknown)
        for recipe in recipes:
            if text_augmentation(recipe.augment).mask:
                unseen_id(self.corpus.tokenizer)

    def parameters(self, recipe: Recipe) -> int:
        """Return how many numbers training changes in the model.

        Raises:
            UsageError: The recipe does not fit.
        """
        self.check(recipe)
        return self._looks.seen[""].parameters

    @cached_property
    def _looks(self) -> Looks:
        return Looks()

    def _look(self, tasks: Sequence[Self]) -> Look:
        """Build the model once, try the rates of tasks on it, and whether it is causal.

        What transformers warns of while it loads weights is shown here, and not at every run.
        """
        conversion = self._converted(0)
        for task in tasks:
            with task._set_rates(conversion):
                pass
        look = Look(parameters=trainable(conversion.model))
        self._check_causal(conversion.model)
        return look

    def with_recipe(self, recipe: Recipe, seed: int = 0) -> Self:
        """Return the task with a recipe's rates and augmentation; no model is built.

        Raises:
            UsageError: The recipe changes the network, or a model that rewrites text cannot be
                used.
        """
        changes = dict(recipe.model)
        keeps = changes.pop(OWN_RATES, None) == "own"
        if changes:
            raise UsageError(
                f"Recipe {recipe.name!r} changes {', '.join(changes)}; a Hugging Face model has "
                "its own configuration. Write it behind the type, as in hf:gpt2:n_layer=2."
            )
        spec = text_augmentation(recipe.augment)
        corpus = augment_corpus(self.corpus, spec, seed) if spec.changes_text else self.corpus
        return replace(
            self,
            corpus=corpus,
            augment=dict(recipe.augment),
            dropout=dict(recipe.dropout),
            keeps_rates=keeps,
        )

    def settings(self) -> dict[str, Any]:
        """Return what the recipe changes as JSON."""
        kept = {OWN_RATES: "own"} if self.keeps_rates else {}
        model = {"context": self.model.context, **kept, "dropout": dict(self.dropout)}
        return {"model": model, "augment": dict(self.augment)}

    def build(self, seed: int) -> nn.Module:
        """Return the converted model with the rates of the recipe.

        Raises:
            UsageError: The model does not know as many tokens as the corpus has, or reads fewer
                than the context; or the recipe names no site of it.
        """
        with quiet_transformers():
            conversion = self._converted(seed)
        self._set_rates(conversion)
        return conversion.model

    def _converted(self, seed: int) -> Conversion:
        model = load_causal_lm(self.source, seed=seed)
        self._check_size(model)
        example = self.batch(seed=0, step=0, batch_size=1).inputs
        return convert(model, {"input_ids": example, "use_cache": False})

    def _set_rates(self, conversion: Conversion) -> AbstractContextManager[object]:
        advice = f"`{self.source}` has no dropout site, so none can be set."
        return with_rates(conversion, self.dropout, keeps_rates=self.keeps_rates, advice=advice)

    def _check_size(self, model: Any) -> None:
        known, asked = vocab_size(model), self.corpus.tokenizer.vocab_size
        if known < asked:
            raise UsageError(
                f"`{self.source}` knows {known} tokens, {self.corpus.name!r} has {asked}. Write "
                f"hf:{self.source.partition(':')[0]}:vocab_size={asked}, or use another tokenizer."
            )
        context = self.model.context
        most = getattr(model.config, "max_position_embeddings", context)
        if context > most:
            raise UsageError(
                f"`{self.source}` reads at most {most} tokens; got a context of {context}. Use "
                "less."
            )

    def _check_causal(self, model: nn.Module) -> None:
        """Refuse a model that sees the token it is to predict.

        Args:
            model: Not needed any more: it is turned into float32, where rounding hides no leak.
        """
        tokens = self.batch(seed=0, step=0, batch_size=1).inputs[:, :_TRIED_TOKENS]
        other = tokens.clone()
        other[:, -1] = (other[:, -1] + 1) % self.corpus.tokenizer.vocab_size
        with eval_mode(model.float()):
            said, changed = (self.outputs(model, each)[:, :-1] for each in (tokens, other))
        if said.numel() and (said - changed).abs().max() > _ROUNDING * said.abs().max():
            raise UsageError(
                "A language model must not see the tokens that it predicts; in "
                f"`{self.source}` the last token changes what is said before it. {self._advice()}"
            )

    def _advice(self) -> str:
        other = "take a causal type, such as hf:gpt2."
        if Path(self.source).exists():
            return f"Set `is_decoder` in its configuration, if it has that, or {other}"
        kind, _, settings = self.source.partition(":")
        decoder = ",".join(filter(None, ("is_decoder=true", settings)))
        return f"Write hf:{kind}:{decoder}, or {other}"

    def outputs(self, model: nn.Module, inputs: Any) -> Tensor:
        """Return the logits of the token after each token."""
        logits: Tensor = model(input_ids=inputs, use_cache=False).logits
        return logits


def folder_tokenizer(source: str) -> BPETokenizer | None:
    """Return the tokenizer that lies in a model's folder, or None where there is none.

    Args:
        source: As for `load_causal_lm`.
    """
    file = Path(source) / "tokenizer.json"
    if not file.is_file():
        return None
    return BPETokenizer(f"hf:{source}", file.read_text(encoding="utf-8"))


def causal_task(corpus: Corpus, source: str, context: int) -> CausalTask:
    """Return the task of a model on a corpus; whether they fit is seen when it is built."""
    shape = TransformerConfig(vocab_size=corpus.tokenizer.vocab_size, context=context)
    return CausalTask(corpus=corpus, model=shape, source=source, weights=_digest(Path(source)))


def _digest(folder: Path) -> str:
    """Return the SHA-256 of the files of a model's folder, or nothing where it is none."""
    if not folder.is_dir():
        return ""
    whole = hashlib.sha256()
    for file in sorted(each for each in folder.iterdir() if each.is_file()):
        with file.open("rb") as content:
            whole.update(file.name.encode() + hashlib.file_digest(content, "sha256").digest())
    return whole.hexdigest()
