import math
import re
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.errors import UsageError
from redrop.regularize.text.thesaurus import Thesaurus
from redrop.regularize.text.word_edits import (
    Layout,
    delete_words,
    insert_synonyms,
    replace_synonyms,
    swap_words,
)

THESAURUS = Thesaurus({"ab": ("xy", "xyz"), "ba": ("yx",), "a": ("nothing",), "bb": ("xx yy",)})
TEXTS = st.text(alphabet="abAB .,(\n", max_size=60)
ALPHAS = st.floats(0, 1)
SEEDS = st.integers(0, 2**32)
EDITS: dict[str, Callable[[str, float, np.random.Generator], str]] = {
    "synonyms": lambda s, alpha, rng: replace_synonyms(s, alpha, THESAURUS, rng),
    "insert": lambda s, alpha, rng: insert_synonyms(s, alpha, THESAURUS, rng),
    "swap": swap_words,
    "delete": delete_words,
}
each_edit = pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)


def stream(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def allowed(alpha: float, size: int) -> tuple[int, int]:
    """The least and the greatest number of edits that α allows."""
    return math.floor(alpha * size), min(size, math.ceil(alpha * size))


@given(text=TEXTS)
def test_a_layout_joins_to_its_sentence(text):
    layout = Layout.read(text)
    assert layout.join() == text
    assert layout.words == text.split()
    assert all(not space.strip() for space in layout.spaces)


@each_edit
@given(text=TEXTS, seed=SEEDS)
def test_strength_0_changes_nothing(edit, text, seed):
    assert edit(text, 0.0, stream(seed)) == text


@each_edit
@given(text=TEXTS, alpha=ALPHAS, seed=SEEDS)
def test_the_same_stream_gives_the_same_text(edit, text, alpha, seed):
    assert edit(text, alpha, stream(seed)) == edit(text, alpha, stream(seed))


@each_edit
@pytest.mark.parametrize("alpha", [-0.1, 1.1, math.nan])
def test_a_share_outside_its_range_is_refused(edit, alpha):
    with pytest.raises(UsageError, match=r"share of words to edit, in \[0, 1\]; got"):
        edit("ab ba", alpha, stream(0))


@given(text=TEXTS, alpha=ALPHAS, seed=SEEDS)
def test_synonyms_replace_as_many_words_as_asked_where_they_can(text, alpha, seed):
    edited = replace_synonyms(text, alpha, THESAURUS, stream(seed))
    old, new = Layout.read(text), Layout.read(re.sub("(?i)xx yy", "xxyy", edited))
    assert old.spaces == new.spaces
    changed = [i for i, (a, b) in enumerate(zip(old.words, new.words, strict=True)) if a != b]
    able = [i for i, word in enumerate(old.words) if THESAURUS.synonyms(word.strip(".,("))]
    assert set(changed) <= set(able)
    least, most = allowed(alpha, len(old.words))
    assert min(least, len(able)) <= len(changed) <= min(most, len(able))


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("ba", "yx"),
        ("Ba", "Yx"),
        ("BA", "YX"),
        ("(ba),", "(yx),"),
        ('"Ba."', '"Yx."'),
        ("_ba_", "_yx_"),
    ],
)
def test_a_synonym_takes_over_capitals_and_punctuation(word, expected):
    assert replace_synonyms(f"q {word}\n r", 1.0, THESAURUS, stream(0)) == f"q {expected}\n r"


@given(text=TEXTS, alpha=ALPHAS, seed=SEEDS)
def test_insertion_adds_synonyms_and_keeps_the_words_in_order(text, alpha, seed):
    edited = insert_synonyms(text, alpha, THESAURUS, stream(seed))
    letters = edited.replace("xx yy", "xxyy").split()
    added = [word for word in letters if word in ("xy", "xyz", "yx", "xxyy")]
    assert [word for word in letters if word not in ("xy", "xyz", "yx", "xxyy")] == text.split()
    able = any(THESAURUS.synonyms(word.strip(".,(")) for word in text.split())
    least, most = allowed(alpha, len(text.split())) if able else (0, 0)
    assert least <= len(added) <= most


@given(text=TEXTS, alpha=ALPHAS, seed=SEEDS)
def test_swaps_keep_every_word_with_its_punctuation_and_all_white_space(text, alpha, seed):
    edited = swap_words(text, alpha, stream(seed))
    assert Counter(edited.split()) == Counter(text.split())
    assert Layout.read(edited).spaces == Layout.read(text).spaces
    moved = sum(a != b for a, b in zip(edited.split(), text.split(), strict=True))
    assert moved <= 2 * allowed(alpha, len(text.split()))[1]


@given(size=st.integers(2, 12), seed=SEEDS)
def test_one_swap_moves_two_words(size, seed):
    words = [str(i) for i in range(size)]
    edited = swap_words(" ".join(words), 1 / size, stream(seed)).split()
    assert sum(a != b for a, b in zip(words, edited, strict=True)) == 2


@given(text=TEXTS, alpha=ALPHAS, seed=SEEDS)
def test_deletion_leaves_words_in_order_and_at_least_one(text, alpha, seed):
    words, left = text.split(), delete_words(text, alpha, stream(seed)).split()
    rest = iter(words)
    assert all(word in rest for word in left)  # a subsequence
    assert bool(left) == bool(words)
    if alpha == 1.0:
        assert len(left) == min(1, len(words))


@given(words=st.integers(0, 30), low=ALPHAS, high=ALPHAS, seed=SEEDS)
def test_a_word_deleted_at_a_strength_is_deleted_at_every_larger_one(words, low, high, seed):
    text = " ".join(str(i) for i in range(words))
    less, more = (
        set(delete_words(text, alpha, stream(seed)).split()) for alpha in sorted((low, high))
    )
    assert more <= less


@given(words=st.integers(1, 30), low=ALPHAS, high=ALPHAS, seed=SEEDS)
def test_a_synonym_put_at_a_strength_stands_at_every_larger_one(words, low, high, seed):
    text = " ".join(["ab"] * words)
    less, more = (
        replace_synonyms(text, alpha, THESAURUS, stream(seed)).split()
        for alpha in sorted((low, high))
    )
    assert all(b == a for a, b in zip(less, more, strict=True) if a != "ab")


@pytest.mark.parametrize("alpha", [0.05, 0.3])
@pytest.mark.parametrize("size", [3, 10])
def test_the_mean_share_of_edits_is_alpha_in_short_sentences_too(alpha, size):
    draws, text = 4000, " ".join(["ba"] * size)
    replaced = deleted = 0
    for seed in range(draws):
        replaced += replace_synonyms(text, alpha, THESAURUS, stream(seed)).split().count("yx")
        deleted += size - len(delete_words(text, alpha, stream(seed)).split())
    part = alpha * size % 1  # floor(α · l + u) is one of two numbers: a Bernoulli draw
    # 5.5 standard errors: a false alarm in 2.6e7 comparisons
    assert abs(replaced - draws * alpha * size) <= 5.5 * math.sqrt(draws * part * (1 - part))
    # the one word that always stays takes α^l deletions away
    mean = draws * (size * alpha - alpha**size)
    assert abs(deleted - mean) < 5.5 * math.sqrt(draws * size * alpha * (1 - alpha))


def test_every_synonym_is_chosen_alike():
    draws = 4000
    text = " ".join(["ab"] * draws)
    edited = Counter(replace_synonyms(text, 1.0, THESAURUS, stream(1)).split())
    assert set(edited) == {"xy", "xyz"}
    assert abs(edited["xy"] - draws / 2) < 5.5 * math.sqrt(draws / 4)
