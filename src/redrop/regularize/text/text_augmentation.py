"""Augmentation of text as one setting, and the training text with augmented copies behind it.

Only the training part is ever augmented: `augment_text` is given nothing else. Its result is for
the tokens to learn from; the tokenizer is learned from the training text as it was. That works
because every character of the copies stands in the training text (see known_characters.py), so no
copy holds U+FFFD, and every arm of a study has the same vocabulary.

Copies are made of running text. A paragraph that is mostly code, grammar or tables is not copied: a
swap of two words of a program is no program. A copy that came out like its original is left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from redrop.errors import UsageError
from redrop.mask import mask_key
from redrop.regularize.text.generation_settings import PROMPT, GenerationSettings, Progress
from redrop.regularize.text.known_characters import keep_known
from redrop.regularize.text.prose import is_prose, one_line, paragraphs, sentences, wrap_like
from redrop.regularize.text.thesaurus import BUILT_IN, Thesaurus, read_thesaurus
from redrop.regularize.text.word_edits import (
    delete_words,
    insert_synonyms,
    replace_synonyms,
    swap_words,
)

SITE = "augmentation.words"

NOISE = ("mask", "replace")
EDITS = ("synonyms", "insert", "swap", "delete")

Edit = Callable[[str, np.random.Generator], str]
Rewrite = Callable[[list[str]], list[str]]


@dataclass(frozen=True, kw_only=True)
class TextAugmentation:
    """What is done to a training text.

    Args:
        mask: Probability that a token is hidden from the network, anew in every batch.
        replace: Probability that it is drawn anew from the training tokens, in every batch.
        synonyms: Share of words that get a synonym in an edited copy.
        insert: Share of words before which a synonym is put.
        swap: Share of words that are exchanged with another.
        delete: Probability that a word is left out.
        thesaurus: For `synonyms` and `insert`: `built-in` or a file; see `read_thesaurus`.
        back_translation: Two models, there and back, that make a copy of their own.
        paraphrase: A model that makes a copy of its own.
        prompt: What that model reads before each sentence.
        copies: How many of each kind of copy.
        generation: How the models write.

    Raises:
        UsageError: A strength is outside [0, 1], or settings contradict each other.

    >>> TextAugmentation(synonyms=0.1).changes_text, TextAugmentation(mask=0.1).changes_text
    (True, False)
    """

    mask: float = 0.0
    replace: float = 0.0
    synonyms: float = 0.0
    insert: float = 0.0
    swap: float = 0.0
    delete: float = 0.0
    thesaurus: str = BUILT_IN
    back_translation: tuple[str, str] | None = None
    paraphrase: str | None = None
    prompt: str = PROMPT
    copies: int = 1
    generation: GenerationSettings = field(default_factory=GenerationSettings)

    def __post_init__(self) -> None:
        for name in (*NOISE, *EDITS):
            strength = getattr(self, name)
            if not 0.0 <= strength <= 1.0:  # refuses NaN too
                raise UsageError(
                    f"`{name}` must lie in [0, 1]; got {strength}. Pass 0.1 for a tenth."
                )
        if self.copies < 1:
            raise UsageError(
                f"`copies` must be at least 1; got {self.copies}. Leave strengths at 0 for none."
            )
        self._check_models()
        self._check_unused()

    @property
    def edits_words(self) -> bool:
        """Whether copies with edited words are made."""
        return any(getattr(self, name) > 0 for name in EDITS)

    @property
    def uses_model(self) -> bool:
        """Whether a model writes copies."""
        return self.back_translation is not None or self.paraphrase is not None

    @property
    def changes_text(self) -> bool:
        """Whether `augment_text` does anything; `mask` and `replace` act on batches."""
        return self.edits_words or self.uses_model

    def _check_models(self) -> None:
        pair = self.back_translation
        if pair is not None and not (
            isinstance(pair, tuple) and len(pair) == 2 and all(pair) and pair[0] != pair[1]
        ):
            raise UsageError(
                f"`back_translation` needs two different models, there and back; got {pair!r}."
                " Pass ('Helsinki-NLP/opus-mt-en-de', 'Helsinki-NLP/opus-mt-de-en')."
            )
        if self.paraphrase == "":
            raise UsageError("`paraphrase` names a model; got ''. Pass a folder or an id.")

    def _check_unused(self) -> None:
        """Refuse a setting that nothing would honour."""
        uses_thesaurus = self.synonyms > 0 or self.insert > 0
        generation = GenerationSettings()
        for name, default, is_used, user in (
            ("copies", 1, self.changes_text, "an edit of words or a model"),
            ("thesaurus", BUILT_IN, uses_thesaurus, "`synonyms` or `insert`"),
            ("prompt", PROMPT, self.paraphrase is not None, "`paraphrase`"),
            ("generation", generation, self.uses_model, "`back_translation` or `paraphrase`"),
        ):
            if getattr(self, name) != default and not is_used:
                raise UsageError(
                    f"`{name}` is used by {user}, which is off; got {getattr(self, name)!r}."
                    " Switch that on, or leave this out."
                )
        if self.copies > 1 and self.uses_model and not self.generation.is_sampled:
            raise UsageError(
                f"Without sampling a model writes the same copy again; got copies={self.copies} and"
                " temperature=0. Pass a temperature above 0, or copies=1."
            )


def augment_text(
    training_text: str,
    spec: TextAugmentation,
    *,
    seed: int,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> str:
    r"""Return the training text, and behind it augmented copies of its paragraphs of prose.

    One copy has its words edited (all four edits in turn, sentence by sentence), one comes back
    from another language, one is paraphrased; each only if asked for, and `copies` times.

    Args:
        training_text: The training part alone.
        spec: What to do. Noise on tokens is not done here but on batches.
        seed: Of the run.
        cache: A folder that keeps what models wrote.
        progress: Told by the models how many sentences are done.

    Returns:
        A text that begins with `training_text` and has no character that is not in it.

    Randomness:
        (seed, copy, number of paragraph and sentence) decide an edit, (seed, copy, sentence) what
        a model writes.

    Raises:
        UsageError: The text has no running text, or a thesaurus, model or cache cannot be used.

    >>> augment_text("One two three four.", TextAugmentation(swap=0.3), seed=0)
    'One two three four. four. three two One'
    """
    if not spec.changes_text:
        return training_text
    originals = [each for each in paragraphs(training_text) if is_prose(each)]
    if not originals:
        raise UsageError(
            "Augmentation needs running text, a paragraph of four or more words of letters; the"
            f" training text of {len(training_text)} characters has none. Give prose, or use `mask`"
            " and `replace`, which take any tokens."
        )
    known = frozenset(training_text)
    copies = [
        keep_known(copied, known)
        for made in _copies(originals, spec, known, seed, cache, progress)
        for original, copied in zip(originals, made, strict=True)
        if one_line(copied) not in ("", one_line(original))
    ]
    if not copies:
        return training_text
    # a text of one line may know no line break
    gap = "\n\n" if "\n" in known else keep_known(" ", known)
    ended = len(training_text) - len(training_text.rstrip("\n"))
    return training_text + gap[ended:] + gap.join(copies)


def _copies(
    originals: Sequence[str],
    spec: TextAugmentation,
    known: frozenset[str],
    seed: int,
    cache: Path | None,
    progress: Progress | None,
) -> Iterator[list[str]]:
    """Yield the paragraphs once for each copy."""
    edits = _edits(spec, known) if spec.edits_words else {}
    for copy in range(spec.copies):
        if spec.edits_words:
            yield [
                _edit(paragraph, edits, seed, copy, number)
                for number, paragraph in enumerate(originals)
            ]
        for rewrite in _rewrites(spec, seed=seed, copy=copy, cache=cache, progress=progress):
            yield _rewrite(originals, rewrite)


def _rewrites(spec: TextAugmentation, **options: Any) -> Iterator[Rewrite]:
    """Yield what each model, or pair of models, does to a list of sentences."""
    if not spec.uses_model:
        return
    # here and not above: they load torch, which settings and word edits do without
    from redrop.regularize.text.back_translation import back_translate
    from redrop.regularize.text.paraphrase import paraphrase

    options["settings"] = spec.generation
    if spec.back_translation is not None:
        there, back = spec.back_translation
        yield partial(back_translate, there=there, back=back, **options)
    if spec.paraphrase is not None:
        yield partial(paraphrase, model=spec.paraphrase, prompt=spec.prompt, **options)


def _edits(spec: TextAugmentation, known: frozenset[str]) -> dict[int, Edit]:
    """Return the edits asked for by their place in `EDITS`, which is their order."""
    thesaurus = Thesaurus({})
    if spec.synonyms > 0 or spec.insert > 0:
        thesaurus = read_thesaurus(spec.thesaurus).within(known)
    functions: dict[str, Edit] = {
        "synonyms": lambda s, rng: replace_synonyms(s, spec.synonyms, thesaurus, rng),
        "insert": lambda s, rng: insert_synonyms(s, spec.insert, thesaurus, rng),
        "swap": lambda s, rng: swap_words(s, spec.swap, rng),
        "delete": lambda s, rng: delete_words(s, spec.delete, rng),
    }
    return {place: functions[name] for place, name in enumerate(EDITS) if getattr(spec, name) > 0}


def _edit(paragraph: str, edits: dict[int, Edit], seed: int, copy: int, number: int) -> str:
    """Edit a paragraph sentence by sentence, with one stream for each sentence and edit."""
    key = mask_key(seed, copy, SITE)
    edited = []
    for place, original in enumerate(sentences(paragraph)):
        sentence = original
        for name, edit in edits.items():
            # NumPy counts up in the first word of the counter: the others name the stream
            counter = np.array([0, number, place, name], dtype=np.uint64)
            stream = np.random.Philox(key=np.array([key, 0], dtype=np.uint64), counter=counter)
            sentence = edit(sentence, np.random.Generator(stream))
        edited.append(sentence)
    return "".join(edited)


def _rewrite(originals: Sequence[str], rewrite: Rewrite) -> list[str]:
    """Send the sentences of all paragraphs through a model; lay the result out as it was."""
    split = [[one_line(each) for each in sentences(paragraph)] for paragraph in originals]
    written = iter(rewrite([sentence for each in split for sentence in each]))
    return [
        wrap_like(" ".join(text for _ in each if (text := next(written))), paragraph)
        for each, paragraph in zip(split, originals, strict=True)
    ]
