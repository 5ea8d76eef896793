"""A Hugging Face causal model on the user's text."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from redrop.data import Corpus
from redrop.data.bpe_tokenizer import BPETokenizer
from redrop.errors import UsageError
from redrop.integrations import convert, load_causal_lm, set_rates
from redrop.integrations.hugging_face import vocab_size
from redrop.models.config import TransformerConfig
from redrop.regularize.text.token_noise import unseen_id
from redrop.tasks.augment_corpus import augment_corpus, text_augmentation
from redrop.tasks.text import TextTask
from redrop.train.recipe import Recipe

PREFIX = "hf:"
OWN_RATES = "rates"


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

    def check(self, recipe: Recipe) -> None:
        """Raise UsageError unless a recipe fits; no text is rewritten by a model for that."""
        self.with_recipe(replace(recipe, augment={}))
        if text_augmentation(recipe.augment).mask:
            unseen_id(self.corpus.tokenizer)

    def with_recipe(self, recipe: Recipe, seed: int = 0) -> Self:
        """Return the task with a recipe's rates and augmentation.

        Raises:
            UsageError: The recipe changes the network, or names no site of it.
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
        task = replace(
            self,
            corpus=corpus,
            augment=dict(recipe.augment),
            dropout=dict(recipe.dropout),
            keeps_rates=keeps,
        )
        task.build(seed)
        return task

    def settings(self) -> dict[str, Any]:
        """Return what the recipe changes as JSON."""
        kept = {OWN_RATES: "own"} if self.keeps_rates else {}
        model = {"context": self.model.context, **kept, "dropout": dict(self.dropout)}
        return {"model": model, "augment": dict(self.augment)}

    def build(self, seed: int) -> nn.Module:
        """Return the converted model with the rates of the recipe."""
        model = load_causal_lm(self.source, seed=seed)
        example = self.batch(seed=0, step=0, batch_size=1).inputs
        conversion = convert(model, {"input_ids": example, "use_cache": False})
        rates = dict(self.dropout) if self.keeps_rates else {"*": 0.0, **self.dropout}
        if rates and conversion.sites:
            set_rates(conversion, rates)
        elif any(rates.values()):
            raise UsageError(f"`{self.source}` has no dropout site, so none can be set.")
        return model

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
    """Return the task of a model on a corpus.

    Raises:
        UsageError: The model does not know as many tokens as the corpus has, or reads fewer than
            the context.
    """
    model = load_causal_lm(source)
    known = vocab_size(model)
    if known < corpus.tokenizer.vocab_size:
        raise UsageError(
            f"`{source}` knows {known} tokens, {corpus.name!r} has {corpus.tokenizer.vocab_size}. "
            f"Write hf:{source.partition(':')[0]}:vocab_size={corpus.tokenizer.vocab_size}, or use "
            "another tokenizer."
        )
    most = getattr(model.config, "max_position_embeddings", context)
    if context > most:
        raise UsageError(
            f"`{source}` reads at most {most} tokens; got a context of {context}. Use less."
        )
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
