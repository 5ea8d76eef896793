"""The little English that the page's own models speak, and their word-level tokenizer.

A grammar with long reaches, so that attention has something to do: "and it" is followed by what
that animal does, "was" or "were" by the number of the subject, "one step" by what a journey starts
with, and "you are" by the "your" at the very beginning.
"""

import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

UNKNOWN = "?"
END = "."

ANIMALS = {
    "cat": ("cats", "purred"),
    "dog": ("dogs", "barked"),
    "bird": ("birds", "sang"),
    "frog": ("frogs", "croaked"),
    "child": ("children", "laughed"),
    "lion": ("lions", "roared"),
    "bee": ("bees", "buzzed"),
    "duck": ("ducks", "quacked"),
}
ADJECTIVES = ("little", "big", "young", "black", "quiet")
VERBS = ("sat", "slept", "stood", "waited")
PLACES = {
    "on": ("mat", "rug", "chair", "bed", "roof", "grass"),
    "under": ("table", "tree", "bridge"),
    "near": ("river", "house", "door"),
}
STATES = ("tired", "happy", "cold", "hungry")
THINGS = {
    "journey": ("journeys", "step", "steps"),
    "song": ("songs", "note", "notes"),
    "book": ("books", "word", "words"),
    "wall": ("walls", "brick", "bricks"),
    "fire": ("fires", "spark", "sparks"),
    "meal": ("meals", "bite", "bites"),
}
OWNERS = {
    "my": ("i", "am"),
    "your": ("you", "are"),
    "our": ("we", "are"),
    "his": ("he", "is"),
    "her": ("she", "is"),
    "their": ("they", "are"),
}
NUMBERS = ("two", "three", "many")

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*|[.!?,;:]")


def sentence(draw: random.Random) -> list[str]:
    """Return the words of one sentence, the full stop last.

    >>> " ".join(sentence(random.Random(3)))
    'two cats sat on a roof and they purred .'
    """
    return [*(_of_animals(draw) if draw.random() < 0.6 else _of_things(draw)), END]


def _of_animals(draw: random.Random) -> list[str]:
    animal = draw.choice(sorted(ANIMALS))
    plural, sound = ANIMALS[animal]
    is_plural = draw.random() < 0.4
    determiner = draw.choice(("the", "some", "two") if is_plural else ("the", "a", "one"))
    adjective = [draw.choice(ADJECTIVES)] if draw.random() < 0.3 else []
    words = [determiner, *adjective, plural if is_plural else animal, draw.choice(VERBS)]
    if draw.random() < 0.15:
        return words
    preposition = draw.choice(sorted(PLACES))
    words += [preposition, draw.choice(("the", "a")), draw.choice(PLACES[preposition])]
    pronoun, be = ("they", "were") if is_plural else ("it", "was")
    ending = draw.random()
    if ending < 0.45:
        words += ["and", pronoun, sound]
    elif ending < 0.8:
        words += ["because", pronoun, be, draw.choice(STATES)]
    return words


def _of_things(draw: random.Random) -> list[str]:
    owner = draw.choice(sorted(OWNERS))
    thing = draw.choice(sorted(THINGS))
    plural, part, parts = THINGS[thing]
    words = [owner, *((plural, "start") if draw.random() < 0.3 else (thing, "starts")), "with"]
    words += ["one", part] if draw.random() < 0.6 else [draw.choice(NUMBERS), parts]
    if draw.random() < 0.6:
        words += ["and", *OWNERS[owner], "ready"]
    return words


def vocabulary() -> tuple[str, ...]:
    """Return every word of the language, the unknown one first, then the full stop.

    >>> vocabulary()[:2], len(vocabulary())
    (('?', '.'), 109)
    """
    words = {"the", "a", "one", "some", "and", "it", "they", "because", "was", "were", "with"}
    words |= {"start", "starts", "ready", *NUMBERS, *ADJECTIVES, *VERBS, *STATES, *PLACES}
    words |= {word for animal, others in ANIMALS.items() for word in (animal, *others)}
    words |= {word for places in PLACES.values() for word in places}
    words |= {word for thing, others in THINGS.items() for word in (thing, *others)}
    words |= {word for owner, others in OWNERS.items() for word in (owner, *others)}
    return (UNKNOWN, END, *sorted(words))


def split_words(text: str) -> list[str]:
    """Return words and punctuation marks as they were typed; the page splits in the same way.

    >>> split_words("Your journey starts, with one step.")
    ['Your', 'journey', 'starts', ',', 'with', 'one', 'step', '.']
    """
    return _WORD.findall(text)


@dataclass(frozen=True)
class WordTokenizer:
    """One id a word; capitals do not count, and a strange word has the id of the unknown one.

    >>> words = WordTokenizer(("?", ".", "cat", "the"))
    >>> words.encode("The cat xyzzy.")
    [3, 2, 0, 1]
    >>> words.decode([3, 2, 1])
    'the cat .'
    """

    words: tuple[str, ...]

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return [self._ids.get(word.lower(), 0) for word in split_words(text)]

    def decode(self, ids: Sequence[int]) -> str:
        """Return the words of some ids, a space between them."""
        return " ".join(self.words[index] for index in ids)

    def to_json(self) -> str:
        """Return the words as JSON."""
        return json.dumps({"kind": "word", "words": list(self.words)})

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}
