r"""Where paragraphs and sentences begin and end, by rules that need no model.

A paragraph ends at a blank line. A sentence ends at . ! or ? (and closing quotes or brackets) where
white space and then no small letter follow; that is wrong after "Dr." and right often enough for
augmentation, which never looks across a sentence.
"""

import re
import textwrap
from itertools import groupby

SENTENCE_END = re.compile(r"(?<=[.!?])[\"'”’)\]]*\s+(?=\S)")
PLAIN_WORD = re.compile(
    r"[\"'“‘(\[*_]*[^\W\d_]+(?:['’-][^\W\d_]+)*[\"'”’)\]*_]*[.,;:!?]*[\"'”’)\]]*"
)

LEAST_WORDS = 4
LEAST_SHARE = 0.75
"""Of plain words: the paragraphs of Python's reference with less are grammar, code and tables."""


def paragraphs(text: str) -> list[str]:
    r"""Return what stands between blank lines, without them.

    >>> paragraphs("One line\nand another.\n\n\nNext.\n")
    ['One line\nand another.', 'Next.']
    """
    blocks = groupby(text.split("\n"), key=lambda line: bool(line.strip()))
    return ["\n".join(lines) for is_text, lines in blocks if is_text]


def sentences(paragraph: str) -> list[str]:
    """Return the sentences in order, each with the white space behind it: joined, they are all.

    >>> sentences("It rains. (So what?) Take 3.5 of them, e.g. these.")
    ['It rains. ', '(So what?) ', 'Take 3.5 of them, e.g. these.']
    """
    found = (match.end() for match in SENTENCE_END.finditer(paragraph))
    ends = [end for end in found if not paragraph[end].islower()]
    return [
        paragraph[first:last]
        for first, last in zip([0, *ends], [*ends, len(paragraph)], strict=True)
        if first < last
    ]


def is_prose(paragraph: str) -> bool:
    """Whether a paragraph is running text: at least 4 words, three quarters of them plain.

    >>> is_prose("Some of these, in use.")
    True
    >>> is_prose("assert_stmt ::= 'assert' expression ['|' expression]")
    False
    """
    words = paragraph.split()
    plain = sum(PLAIN_WORD.fullmatch(word) is not None for word in words)
    return len(words) >= LEAST_WORDS and plain >= LEAST_SHARE * len(words)


def one_line(text: str) -> str:
    r"""Return the words of a text with one space between them, as a model reads a sentence.

    >>> one_line("  wrapped\n  here ")
    'wrapped here'
    """
    return " ".join(text.split())


def wrap_like(text: str, model: str) -> str:
    r"""Lay out a text like another: at its indent, in lines no longer than its longest.

    >>> wrap_like("the same in other words", "   as it\n   stood here")
    '   the same\n   in other\n   words'
    """
    lines = model.splitlines()
    indent = model[: len(model) - len(model.lstrip())]
    if len(lines) < 2:
        return indent + one_line(text)
    return textwrap.fill(
        one_line(text),
        width=max(map(len, lines)),
        initial_indent=indent,
        subsequent_indent=lines[1][: len(lines[1]) - len(lines[1].lstrip())],
        break_long_words=False,
        break_on_hyphens=False,
    )
