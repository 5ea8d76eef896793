"""New text in the characters of the old, so that augmentation does not change a vocabulary.

Translation models write ’ and – where the training text may have ' and -. A character tokenizer
learned from the training text does not know them, and one learned from both would give this arm of
a study another number of classes, and losses that cannot be compared.
"""

import unicodedata
from collections.abc import Collection

LOOK_ALIKES = {
    "‘": "'", "’": "'", "‚": "'", "′": "'", "`": "'",
    "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "″": '"',
    "‐": "-", "‑": "-", "–": "-", "—": "-", "−": "-",
    "…": "...", "\u00a0": " ", "ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l",
}  # fmt: skip


def keep_known(text: str, known: Collection[str]) -> str:
    """Return a text without a character that is not known.

    In place of a strange character stands what looks like it, or the same letter without its
    accent, or in the other case; if none of these is known, nothing.

    >>> keep_known("“Café” – Ötzi’s…", known="acefiostzO'- .")
    "cafe - Otzi's..."
    """
    characters = known if isinstance(known, set | frozenset) else frozenset(known)
    strange = set(text) - characters
    if not strange:
        return text
    return text.translate({ord(each): _stand_in(each, characters) for each in strange})


def _stand_in(character: str, known: Collection[str]) -> str:
    alike = LOOK_ALIKES.get(character, character)
    plain = "".join(c for c in unicodedata.normalize("NFKD", alike) if not unicodedata.combining(c))
    for candidate in (alike, plain, plain.swapcase()):
        if candidate and all(each in known for each in candidate):
            return candidate
    return ""
