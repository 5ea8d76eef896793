"""From the name of a source to a corpus: the one entry to this layer."""

import hashlib
import string
from pathlib import Path

import torch

from redrop.data.char_tokenizer import CharTokenizer
from redrop.data.corpus import Corpus
from redrop.data.markov import MarkovSource
from redrop.data.reference import reference_text
from redrop.data.split import split, sufficient_length
from redrop.data.text import read_text
from redrop.data.tokenizer import Tokenizer, build_tokenizer
from redrop.errors import UsageError

SHARE = 0.1

MARKOV_TRAIN = 16_000
"""Tokens of the plain `markov`: small enough that a network without dropout overfits in minutes."""
MARKOV_MOST = 10_000_000
"""A limit against typing errors: as many take a second and 80 MB."""
MARKOV_HELD_OUT = 100_000
"""Validation and test are fresh draws, so they may be long: the standard error of a loss measured
on them is 0.003 nats."""
TRAIN_STREAM, VALIDATION_STREAM, TEST_STREAM = range(3)


def load_corpus(
    source: str | Path,
    *,
    tokenizer: str | Tokenizer = "char",
    limit: int | None = None,
    validation: float = SHARE,
    test: float = SHARE,
    context: int = 1,
) -> Corpus:
    """Load, cut, split and encode a corpus.

    Text is split first; then the tokenizer learns from the training part alone, and each part is
    encoded by itself, so nothing of validation and test leaks into training.

    Args:
        source: `reference` or `reference:N` (embedded English, its first N characters), `markov` or
            `markov:N` (generated language with N training tokens), or the path of a text file or of
            a folder of text files. A file that bears one of these names is reached as
            `./reference`.
        tokenizer: `char`, `byte`, or `bpe:N`, or one that is trained already. The generated
            language has its own symbols and takes `char` only.
        limit: Use at most so many characters, from the beginning; text only.
        validation: Share of the characters for validation; text only.
        test: Share of the characters for test; text only.
        context: The network's context; each part must fill a window of it.

    Raises:
        UsageError: The source cannot be read or is too short, or an argument cannot be honoured.

    >>> corpus = load_corpus("reference:25000", context=64)
    >>> corpus.train.numel(), corpus.validation.numel(), corpus.test.numel()
    (20000, 2500, 2500)
    >>> corpus.tokenizer.decode(corpus.train[:22])
    'The "assert" statement'
    """
    if limit is not None and limit < 1:
        raise UsageError(
            f"`limit` is a number of characters, at least 1; got {limit}. Leave it out for all."
        )
    name = str(source).partition(":")[0]
    if isinstance(source, str) and name == "markov":
        if tokenizer != "char" or limit is not None or (validation, test) != (SHARE, SHARE):
            raise UsageError(
                "The generated language takes no `tokenizer`, `limit`, `validation` or `test`; got"
                f" tokenizer={tokenizer!r}, limit={limit}, validation={validation}, test={test}."
                " Choose the amount of training data in the name: markov:16000."
            )
        is_plain = source == "markov"
        amount = MARKOV_TRAIN if is_plain else _amount(source, "markov:16000", MARKOV_MOST)
        return _markov(amount, context)
    if isinstance(source, str) and name == "reference":
        text, name = reference_text(), source
        if source != "reference":
            limit = min(_amount(source, "reference:25000", len(text)), limit or len(text))
    else:
        text = read_text(source)
        name = Path(source).resolve().name
    return _from_text(text[:limit], name, tokenizer, validation, test, context)


def _from_text(
    text: str,
    name: str,
    wanted: str | Tokenizer,
    validation: float,
    test: float,
    context: int,
) -> Corpus:
    parts = split(len(text), validation, test)
    tokenizer = wanted
    if isinstance(tokenizer, str):
        tokenizer = build_tokenizer(tokenizer, text[parts.train])
    corpus = Corpus(
        name=name,
        sha256=hashlib.sha256(text.encode("utf-8")).hexdigest(),
        tokenizer=tokenizer,
        train=tokenizer.encode(text[parts.train]),
        validation=tokenizer.encode(text[parts.validation]),
        test=tokenizer.encode(text[parts.test]),
    )
    needed = sufficient_length(context + 1, validation, test)
    corpus.check_context(
        context,
        f"Give more text than these {len(text)} characters, {needed} tokens in all will do,",
    )
    return corpus


def _markov(amount: int, context: int) -> Corpus:
    source = MarkovSource.draw()
    train, validation, test = (
        source.sample(length, stream=stream)
        for length, stream in (
            (amount, TRAIN_STREAM),
            (MARKOV_HELD_OUT, VALIDATION_STREAM),
            (MARKOV_HELD_OUT, TEST_STREAM),
        )
    )
    digest = hashlib.sha256(train.tobytes() + validation.tobytes() + test.tobytes())
    corpus = Corpus(
        name=f"markov:{amount}",
        sha256=digest.hexdigest(),
        tokenizer=CharTokenizer(string.ascii_lowercase[: source.symbols]),
        train=torch.from_numpy(train).long(),
        validation=torch.from_numpy(validation).long(),
        test=torch.from_numpy(test).long(),
        bayes_loss=source.entropy_rate,
        opening_loss=source.opening_loss,
    )
    corpus.check_context(context, "Ask for more training tokens, as in markov:16000,")
    return corpus


def _amount(source: str, example: str, most: int) -> int:
    """Read N of `markov:N` or `reference:N`."""
    text = source.partition(":")[2]
    # nine digits at most: Python refuses to read numbers of thousands of digits
    is_number = text.isascii() and text.isdigit() and len(text) <= 9
    if not (is_number and 1 <= int(text) <= most):
        raise UsageError(
            f"`{example.partition(':')[0]}:N` needs a number N from 1 to {most}; got {source!r}. "
            f"Pass {example}."
        )
    return int(text)
