"""Which words may stand for which: the built-in list, a list of the user's, or a MyThes file.

Three sources:

- `built-in`: `english_synonyms.txt` beside this file, written for this package: some 900 sets of
  common English words that can mostly stand for each other, inflected forms in sets of their own.
  Small on purpose: it lets the method run on ordinary and technical English without a download,
  and claims no more. No pip package was found that ships WordNet's synonyms instead of fetching
  them at run time.
- a text file of the same format: `word: a, b, c` gives the synonyms of a word; a line `a, b, c`
  without a colon is a set whose members stand for each other; `#` begins a comment.
- `th_*.dat`, the format of LibreOffice's thesauri (MyThes), which exist for dozens of languages;
  the English one comes from WordNet. Linux distributions package them: Debian's `mythes-en-us`
  puts `th_en_US_v2.dat` into /usr/share/mythes. Entries marked "(generic term)", "(antonym)" and
  so on are no synonyms and are passed over.

References:
    Miller: WordNet: A Lexical Database for English. CACM 38(11), 1995.
    https://doi.org/10.1145/219717.219748
"""

import codecs
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from redrop.errors import UsageError

BUILT_IN = "built-in"
DATA_FILE = "english_synonyms.txt"

_FUNCTION_WORDS = """
    a about after again all also am an and any are as at be because been before being both but
    by can cannot could did do does done down each either else ever every few for from had has
    have he her hers him his how i if in into is it its itself may me might mine more most much
    must my neither no none nor not of off on once one only or other our out over own shall she
    should so some such than that the their them then there these they this those though through
    thus to too two under until up upon us very was we were what when where whether which while
    who whom whose why will with within without would yet you your
"""

STOP_WORDS = frozenset(_FUNCTION_WORDS.split())
"""English function words. WordNet has `in` (inch) and `a` (ampere); the paper leaves them alone."""


@dataclass(frozen=True, eq=False)
class Thesaurus:
    """Synonyms by word in small letters.

    Args:
        entries: The synonyms of each word, the word itself not among them.

    >>> thesaurus = read_thesaurus()
    >>> thesaurus.synonyms("Begins")
    ('starts', 'commences')
    >>> thesaurus.synonyms("the"), thesaurus.synonyms("qwerty")
    ((), ())
    """

    entries: Mapping[str, tuple[str, ...]]

    def synonyms(self, word: str) -> tuple[str, ...]:
        """Return the synonyms of a word however it is capitalised; of a stop word none."""
        small = word.lower()
        return () if small in STOP_WORDS else self.entries.get(small, ())

    def within(self, alphabet: Collection[str]) -> "Thesaurus":
        """Return the part whose synonyms are written with these characters only.

        >>> Thesaurus({"big": ("large", "huge")}).within("large").entries
        {'big': ('large',)}
        """
        known = set(alphabet)
        left = {
            word: tuple(each for each in synonyms if known.issuperset(each))
            for word, synonyms in self.entries.items()
        }
        return Thesaurus({word: synonyms for word, synonyms in left.items() if synonyms})


def read_thesaurus(source: str | Path = BUILT_IN) -> Thesaurus:
    """Read a thesaurus.

    Args:
        source: `built-in`, the path of a text file, or the path of a MyThes file that ends in .dat.

    Raises:
        UsageError: The file is missing, cannot be read or decoded, is out of format or empty.
    """
    if source == BUILT_IN:
        text = resources.files(__package__).joinpath(DATA_FILE).read_text(encoding="utf-8")
        return _collect(_simple(text.splitlines(), DATA_FILE))
    path = Path(source)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"A thesaurus is read from a file; {str(path)!r} cannot be read: {error.strerror}."
            f" Check the path, or use {BUILT_IN!r}."
        ) from error
    if path.suffix == ".dat":
        thesaurus = _collect(_mythes(content, path))
    else:
        thesaurus = _collect(_simple(_decode(content, "utf-8", path).splitlines(), str(path)))
    if not thesaurus.entries:
        raise UsageError(
            f"A thesaurus needs at least one word with a synonym; {str(path)!r} has none."
            " Write lines such as `word: a, b, c`."
        )
    return thesaurus


def _collect(pairs: Iterable[tuple[str, Iterable[str]]]) -> Thesaurus:
    """Join what is said about a word in several places; keep the order, drop repeats."""
    entries: dict[str, dict[str, None]] = {}
    for word, synonyms in pairs:
        small = word.lower()
        kept = entries.setdefault(small, {})
        kept.update(dict.fromkeys(each for each in synonyms if each.lower() != small))
    return Thesaurus({word: tuple(kept) for word, kept in entries.items() if kept})


def _simple(lines: Iterable[str], name: str) -> Iterator[tuple[str, list[str]]]:
    for number, line in enumerate(lines, start=1):
        said = line.partition("#")[0].strip()
        if not said:
            continue
        head, colon, rest = said.partition(":")
        words = [word.strip() for word in (rest if colon else said).split(",")]
        if not (all(words) and head.strip() and (colon or len(words) > 1)):
            raise UsageError(
                f"A line of a thesaurus is `word: a, b, c` or `a, b, c`; line {number} of {name!r}"
                f" is {line[:60]!r}. Correct it, or put # before it."
            )
        if colon:
            yield head.strip(), words
        else:
            yield from ((word, words) for word in words)


def _mythes(content: bytes, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Read `word|n`, then n lines `(part of speech)|synonym|synonym (note)|…`."""
    encoding = content.partition(b"\n")[0].strip().decode("latin-1")
    try:
        codecs.lookup(encoding)
    except LookupError as error:
        raise UsageError(
            f"A MyThes file begins with the name of its encoding; {str(path)!r} begins with"
            f" {encoding[:40]!r}. Give a th_*.dat file, not its .idx."
        ) from error
    lines = _decode(content, encoding, path).splitlines()
    at = 1
    while at < len(lines):
        word, _, count = lines[at].rpartition("|")
        if not (word and count.strip().isdecimal()):
            raise UsageError(
                f"A MyThes entry begins with `word|number`; line {at + 1} of {str(path)!r} is"
                f" {lines[at][:60]!r}. Is the file whole?"
            )
        meanings = lines[at + 1 : at + 1 + int(count)]
        yield word, [each for line in meanings for each in line.split("|")[1:] if _is_synonym(each)]
        at += 1 + int(count)


def _is_synonym(entry: str) -> bool:
    return bool(entry) and not entry.endswith(")")


def _decode(content: bytes, encoding: str, path: Path) -> str:
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"A thesaurus must be in the encoding {encoding}; {str(path)!r} has"
            f" 0x{content[error.start]:02X} at byte offset {error.start}. Convert it."
        ) from error
