"""Real English without a download: the text of Python's language reference, as CPython ships it.

`pydoc_data.topics` holds what `help("if")` prints, 79 topics and 465,000 characters in Python 3.11.
A fifth of that is said twice: the topic `compound` repeats `if`, `for`, `try`, `with` and `while`;
`specialnames` repeats much of what stands before it. Left in, 8 % of validation and 10 % of test
(split 80:10:10; windows of 50 characters, punctuation aside) would be copies of training text, and
memorizing would look like understanding. So a paragraph that stood before is left out: 379,000
characters stay, and 0.1 and 0.4 % of the windows.

The content changes with the version of Python: records carry the SHA-256 of the text used.
"""

import re
from collections.abc import Iterable, Iterator

from redrop.errors import UsageError

SHORTEST_REPEAT = 60
"""Shorter paragraphs ("See also:", "is equivalent to") may return: without them text falls apart.
In Python 3.11 they are 1 % of the characters."""


def reference_text() -> str:
    """Return the topics in alphabetical order, each paragraph once.

    Raises:
        UsageError: This Python came without `pydoc_data`.

    >>> reference_text()[:22]
    'The "assert" statement'
    """
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError as error:
        raise UsageError(
            "The source `reference` needs Python's module `pydoc_data`, which this installation"
            " lacks. Install Python's full standard library, or name a text of your own."
        ) from error
    return "\n\n".join(first_occurrences(topics[name] for name in sorted(topics))) + "\n"


def first_occurrences(texts: Iterable[str]) -> Iterator[str]:
    r"""Yield the paragraphs of all texts in order, without those that stood before.

    Two paragraphs are the same if they differ in spaces and line breaks only.

    >>> fox = "The quick brown fox jumps over the lazy dog, again and again and again."
    >>> paragraphs = list(first_occurrences([fox + "\n\nNote:", "Note:\n\n" + fox]))
    >>> paragraphs == [fox, "Note:", "Note:"]
    True
    """
    seen: set[str] = set()
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text.strip("\n")):
            words = " ".join(paragraph.split())
            if words and words not in seen:
                yield paragraph
            if len(words) >= SHORTEST_REPEAT:
                seen.add(words)
