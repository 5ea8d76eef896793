import math
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from redrop.data import build_tokenizer
from redrop.data.reference import reference_text
from redrop.data.split import split
from redrop.errors import UsageError
from redrop.regularize.text import GenerationSettings, TextAugmentation, augment_text
from redrop.regularize.text.generation_cache import FILE
from redrop.regularize.text.prose import is_prose, one_line, paragraphs

TEXT = """The big cat began to run. A small dog saw it, and made a loud noise!

   x = [0, 1]
   x[0] += 1

   Was the change
   easy to find? Yes, it was quite simple.
"""
SHORT = GenerationSettings(new_tokens=8, batch_size=2)
STRENGTHS = {name: st.floats(0, 1) for name in ("synonyms", "insert", "swap", "delete")}


@given(text=st.text(max_size=80), mask=st.floats(0, 1), replace=st.floats(0, 1))
def test_noise_on_tokens_leaves_the_text_alone(text, mask, replace):
    assert augment_text(text, TextAugmentation(mask=mask, replace=replace), seed=0) == text


@settings(max_examples=40)
@given(
    strengths=st.fixed_dictionaries(STRENGTHS),
    copies=st.integers(1, 2),
    seed=st.integers(0, 2**64 - 1),
    cut=st.integers(30, len(TEXT)),
)
def test_the_text_comes_first_and_copies_know_no_other_character(strengths, copies, seed, cut):
    text = TEXT[:cut]
    copies = copies if any(strengths.values()) else 1
    spec = TextAugmentation(**strengths, copies=copies)
    augmented = augment_text(text, spec, seed=seed)
    assert augmented.startswith(text)
    assert set(augmented) <= set(text)
    assert augmented == augment_text(text, spec, seed=seed)
    tokenizer = build_tokenizer("char", text)
    assert 0 not in tokenizer.encode(augmented)  # U+FFFD


@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n\n\n"])
def test_copies_stand_behind_a_blank_line(end):
    text = TEXT.rstrip("\n") + end
    augmented = augment_text(text, TextAugmentation(swap=0.5), seed=1)
    added = paragraphs(augmented)[3:]
    assert paragraphs(augmented)[:3] == paragraphs(text)
    assert len(added) == 2  # the code is not copied
    for copy, original in zip(added, (paragraphs(text)[i] for i in (0, 2)), strict=True):
        assert copy != original
        assert Counter(copy.split()) == Counter(original.split())
        assert copy.count("\n") == original.count("\n")


def test_a_text_of_one_line_gets_its_copies_on_it():
    text = "One two three four five."
    augmented = augment_text(text, TextAugmentation(swap=0.5, copies=2), seed=0)
    assert "\n" not in augmented
    assert Counter(augmented.split()) == Counter((text + " " + text + " " + text).split())


def test_copies_and_seeds_draw_anew_and_a_longer_text_moves_nothing():
    spec = TextAugmentation(swap=0.5, copies=3)
    augmented = augment_text(TEXT, spec, seed=0)
    assert len(set(paragraphs(augmented))) == 3 + 3 * 2
    assert augment_text(TEXT, spec, seed=1) != augmented
    longer = augment_text(TEXT + "\nOne more paragraph of words.\n", spec, seed=0)
    assert set(paragraphs(augmented)) <= set(paragraphs(longer))


def test_one_edit_does_not_move_another():
    """Synonyms alone, and synonyms before a swap, are the same words."""
    alone = augment_text(TEXT, TextAugmentation(synonyms=0.5), seed=3)
    swapped = augment_text(TEXT, TextAugmentation(synonyms=0.5, swap=0.3), seed=3)
    assert Counter(alone.split()) == Counter(swapped.split())
    assert alone != swapped


def test_the_built_in_thesaurus_serves_the_embedded_text():
    train = reference_text()[:25_000]
    augmented = augment_text(train, TextAugmentation(synonyms=0.1), seed=0)
    copied = augmented[len(train) :].split()
    prose = [each for each in paragraphs(train) if is_prose(each)]
    assert 0.5 * sum(map(len, prose)) < len(augmented) - len(train) < 1.1 * len(train)
    new = sum((Counter(copied) - Counter(" ".join(prose).split())).values())
    # asked for: a tenth of the words. Fewer have a synonym in some sentences; none more are new.
    assert 0.05 * len(copied) < new < 0.11 * len(copied)


def test_a_thesaurus_of_the_user_is_used(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("cat: dog\nsimple: zebra, noise", encoding="utf-8")
    spec = TextAugmentation(synonyms=1.0, thesaurus=str(tmp_path / "mine.txt"))
    # the text has no z: that synonym is passed over
    assert augment_text(TEXT, spec, seed=0)[len(TEXT) :] == (
        "\nThe big dog began to run. A small dog saw it, and made a loud noise!"
        "\n\n   Was the change\n   easy to find? Yes, it was quite noise."
    )


def test_only_the_training_part_is_augmented():
    text = reference_text()[:20_000]
    cut = split(len(text))
    augmented = augment_text(text[cut.train], TextAugmentation(swap=0.2, delete=0.1), seed=0)
    train_words = set(text[cut.train].split())
    assert set(augmented.split()) <= train_words
    assert set(text[cut.validation].split()) - train_words


def test_models_write_copies_with_the_layout_of_the_original(marian_pair, t5, tmp_path):
    there, back = map(str, marian_pair)
    spec = TextAugmentation(
        swap=0.3, back_translation=(there, back), paraphrase=str(t5), generation=SHORT
    )
    told: list[tuple[str, int, int]] = []
    state = torch.random.get_rng_state()
    augmented = augment_text(
        TEXT, spec, seed=0, cache=tmp_path, progress=lambda *each: told.append(each)
    )
    assert torch.equal(torch.random.get_rng_state(), state)
    assert augmented.startswith(TEXT)
    assert set(augmented) <= set(TEXT)
    added = paragraphs(augmented)[3:]
    assert len(added) == 6  # edited, back-translated, paraphrased: two paragraphs each
    for copy in added[3::2]:
        assert all(line.startswith("   ") and len(line) <= 42 for line in copy.split("\n"))
    assert {model for model, _, _ in told} == {there, back, str(t5)}
    assert [state for state in told if state[0] == there] == [
        (there, 0, 4),
        (there, 2, 4),
        (there, 4, 4),
    ]


def test_a_second_arm_generates_nothing_new(marian_pair, tmp_path, generate_calls):
    pair = (str(marian_pair[0]), str(marian_pair[1]))
    spec = TextAugmentation(back_translation=pair, generation=SHORT)
    first = augment_text(TEXT, spec, seed=0, cache=tmp_path)
    done = len(generate_calls)
    assert done == 4
    assert augment_text(TEXT, spec, seed=0, cache=tmp_path) == first
    both = TextAugmentation(back_translation=pair, generation=SHORT, swap=0.5)
    assert augment_text(TEXT, both, seed=0, cache=tmp_path).startswith(TEXT)
    assert len(generate_calls) == done
    assert augment_text(TEXT, spec, seed=1, cache=tmp_path) != first


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        *(
            ({name: bad}, rf"`{name}` must lie in \[0, 1\]; got {bad}. Pass 0.1 for a tenth")
            for name in ("mask", "replace", "synonyms", "insert", "swap", "delete")
            for bad in (-0.5, 10, math.nan)
        ),
        ({"swap": 0.1, "copies": 0}, "`copies` must be at least 1; got 0"),
        ({"mask": 0.1, "copies": 2}, "`copies` is used by an edit of words or a model, which is"),
        ({"swap": 0.1, "thesaurus": "a.txt"}, "`thesaurus` is used by `synonyms` or `insert`"),
        ({"swap": 0.1, "prompt": "say: "}, "`prompt` is used by `paraphrase`, which is off"),
        ({"swap": 0.1, "generation": SHORT}, "`generation` is used by `back_translation` or"),
        ({"back_translation": ("a",)}, "needs two different models, there and back; got"),
        ({"back_translation": ("a", "a")}, "needs two different models"),
        ({"back_translation": ("a", "")}, "needs two different models"),
        ({"back_translation": "ab"}, "needs two different models"),
        ({"paraphrase": ""}, "`paraphrase` names a model; got ''"),
        (
            {"paraphrase": "a", "copies": 2, "generation": GenerationSettings(temperature=0)},
            "writes the same copy again; got copies=2 and temperature=0",
        ),
    ],
)
def test_what_cannot_be_honoured_is_refused(fields, message):
    with pytest.raises(UsageError, match=message):
        TextAugmentation(**fields)


@pytest.mark.parametrize("text", ["", "x = 1\n" * 20, "\t"])
def test_a_text_without_prose_is_refused(text):
    with pytest.raises(UsageError, match=f"training text of {len(text)} characters has none"):
        augment_text(text, TextAugmentation(swap=0.1), seed=0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(UsageError, match="`seed` must lie in"):
        augment_text(TEXT, TextAugmentation(swap=0.1), seed=seed)


def test_settings_and_word_edits_load_no_torch():
    script = """
import sys
from redrop.regularize.text import TextAugmentation, augment_text
augment_text("One two three four.", TextAugmentation(synonyms=0.1, swap=0.5), seed=0)
print({"torch", "transformers"} & set(sys.modules))
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("set()\n", "")


KILLED = """
import sys
from pathlib import Path
from redrop.regularize.text import GenerationSettings, TextAugmentation, augment_text
there, back, cache = sys.argv[1:]
spec = TextAugmentation(
    back_translation=(there, back), generation=GenerationSettings(new_tokens=8, batch_size=1)
)
def progress(model, done, total):
    print(done, flush=True)
    if done == 3:
        sys.stdin.read()  # until the end comes
augment_text(Path(cache, "text").read_text(), spec, seed=0, cache=Path(cache), progress=progress)
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_run_goes_on_where_it_stopped(marian_pair, tmp_path, generate_calls):
    there, back = map(str, marian_pair)
    (tmp_path / "text").write_text(TEXT)
    victim = subprocess.Popen(
        [sys.executable, "-c", KILLED, there, back, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    assert [victim.stdout.readline() for _ in range(4)] == [b"0\n", b"1\n", b"2\n", b"3\n"]
    victim.kill()
    victim.communicate()
    assert victim.returncode == -signal.SIGKILL
    assert (tmp_path / FILE).read_bytes().count(b"\n") == 3

    one = GenerationSettings(new_tokens=8, batch_size=1)
    spec = TextAugmentation(back_translation=(there, back), generation=one)
    resumed = augment_text(TEXT, spec, seed=0, cache=tmp_path)
    assert generate_calls == [1] * (4 - 3 + 4)
    assert resumed == augment_text(TEXT, spec, seed=0)
    assert one_line(resumed) != one_line(TEXT)
