"""EDA: four edits of the words of a sentence, each a pure function of (sentence, strength, stream).

A word is what stands between white space. It keeps its punctuation where it moves or goes; a
synonym takes over punctuation and capitals of the word it replaces; white space stays, so line
breaks do. The strength α is the share of words that are edited: of l words

    n = floor(α · l + u),    u uniform in [0, 1),

so that α is right on the average even where α · l < 1 (the paper takes at least one edit of every
sentence). Everything random is drawn before α is looked at: the edits at a smaller strength are the
first ones at a larger.

References:
    Wei, Zou: EDA: Easy Data Augmentation Techniques for Boosting Performance on Text
    Classification Tasks. EMNLP-IJCNLP 2019. https://arxiv.org/abs/1901.11196
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, TypeVar

import numpy as np

from redrop.errors import UsageError
from redrop.regularize.text.thesaurus import Thesaurus

Item = TypeVar("Item")

CORE = re.compile(r"[^\W_](?:.*[^\W_])?", re.DOTALL)
"""From the first letter or digit of a word to its last; around it stands punctuation."""


def replace_synonyms(
    sentence: str, alpha: float, thesaurus: Thesaurus, generator: np.random.Generator
) -> str:
    """Put a synonym in place of n words that have one, or of all that do if they are fewer.

    Args:
        sentence: Or a paragraph; words of all of it are chosen from.
        alpha: Share of the words of the sentence.
        thesaurus: Says which words stand for which.
        generator: Everything random comes from it.

    Raises:
        UsageError: alpha outside [0, 1].

    >>> from redrop.regularize.text.thesaurus import Thesaurus
    >>> thesaurus = Thesaurus({"big": ("large",), "dog": ("hound",)})
    >>> replace_synonyms("A BIG dog.", 1.0, thesaurus, np.random.default_rng(0))
    'A LARGE hound.'
    """
    layout = Layout.read(sentence)
    count = _count(alpha, len(layout.words), generator)
    found = [thesaurus.synonyms(_core(word)) for word in layout.words]
    chosen = generator.random(len(found))
    order = [i for i in generator.permutation(len(found)) if found[i]]
    for i in order[:count]:
        layout.words[i] = _dress(_pick(found[i], chosen[i]), layout.words[i])
    return layout.join()


def insert_synonyms(
    sentence: str, alpha: float, thesaurus: Thesaurus, generator: np.random.Generator
) -> str:
    """Put a synonym of a random word before another random word, n times.

    A sentence without a word that has a synonym stays as it is. Arguments as for
    `replace_synonyms`.

    Raises:
        UsageError: alpha outside [0, 1].

    >>> from redrop.regularize.text.thesaurus import Thesaurus
    >>> thesaurus = Thesaurus({"dog": ("hound",)})
    >>> insert_synonyms("A big dog.", 0.4, thesaurus, np.random.default_rng(0))
    'hound A big dog.'
    """
    layout = Layout.read(sentence)
    size = len(layout.words)
    count = _count(alpha, size, generator)
    sources = [found for word in layout.words if (found := thesaurus.synonyms(_core(word)))]
    chosen = generator.random((size, 3))
    if not sources:
        return sentence
    for source, which, place in chosen[:count]:
        synonym = _pick(_pick(sources, source), which)
        at = math.floor(place * size)
        layout.words[at] = f"{synonym} {layout.words[at]}"
    return layout.join()


def swap_words(sentence: str, alpha: float, generator: np.random.Generator) -> str:
    """Exchange two random words with their punctuation, n times. A single word stays.

    Raises:
        UsageError: alpha outside [0, 1].

    >>> swap_words("one two, three", 0.4, np.random.default_rng(0))
    'one three two,'
    """
    layout = Layout.read(sentence)
    size = len(layout.words)
    count = _count(alpha, size, generator)
    if size < 2:
        return sentence
    firsts = generator.integers(0, size, size)
    distances = generator.integers(1, size, size)
    words = layout.words
    for first, distance in zip(firsts[:count], distances[:count], strict=True):
        second = (first + distance) % size
        words[first], words[second] = words[second], words[first]
    return layout.join()


def delete_words(sentence: str, alpha: float, generator: np.random.Generator) -> str:
    """Remove each word with probability alpha, as the paper does; one word always stays.

    The white space before a word goes with it.

    Raises:
        UsageError: alpha outside [0, 1].

    >>> delete_words("one two, three four", 0.4, np.random.default_rng(1))
    'one two, four'
    """
    _check(alpha)
    layout = Layout.read(sentence)
    if not layout.words:
        return sentence
    chances = generator.random(len(layout.words))
    last = int(chances.argmax())
    return layout.keep([i for i, u in enumerate(chances) if u >= alpha or i == last]).join()


@dataclass
class Layout:
    """A sentence as its words and the white space around them."""

    words: list[str]
    spaces: list[str]
    """One before each word and one behind the last."""

    @classmethod
    def read(cls, sentence: str) -> Self:
        """Split a sentence; `join` gives it back."""
        pairs = re.findall(r"(\s*)(\S+)", sentence)
        tail = sentence[len(sentence.rstrip()) :]
        return cls([word for _, word in pairs], [*(space for space, _ in pairs), tail])

    def keep(self, chosen: list[int]) -> Self:
        """Return the layout with the chosen words only."""
        spaces = [self.spaces[i] for i in chosen]
        spaces[0] = self.spaces[0]
        return type(self)([self.words[i] for i in chosen], [*spaces, self.spaces[-1]])

    def join(self) -> str:
        """Return the sentence."""
        pieces = zip(self.spaces, [*self.words, ""], strict=True)
        return "".join(space + word for space, word in pieces)


def _count(alpha: float, size: int, generator: np.random.Generator) -> int:
    """How many of `size` words are edited; draws one number whatever alpha is."""
    _check(alpha)
    return min(size, math.floor(alpha * size + generator.random()))


def _check(alpha: float) -> None:
    if not 0.0 <= alpha <= 1.0:
        raise UsageError(
            f"`alpha` is the share of words to edit, in [0, 1]; got {alpha}. Pass 0.1 for a tenth."
        )


def _core(word: str) -> str:
    match = CORE.search(word)
    return match.group() if match else ""


def _dress(synonym: str, word: str) -> str:
    """Give a synonym the capitals and the punctuation of the word that it replaces."""
    core = _core(word)
    if len(core) > 1 and core.isupper():
        synonym = synonym.upper()
    elif core[0].isupper():
        synonym = synonym[0].upper() + synonym[1:]
    before, _, behind = word.partition(core)
    return before + synonym + behind


def _pick(choices: Sequence[Item], u: float) -> Item:
    return choices[math.floor(u * len(choices))]
