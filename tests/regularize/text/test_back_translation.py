from redrop.regularize.text.back_translation import back_translate
from redrop.regularize.text.generate import generate_sentences
from redrop.regularize.text.generation_settings import GenerationSettings

SENTENCES = ["the cat sat.", "a dog ran!", "no.", "is it so?"]
SETTINGS = GenerationSettings(new_tokens=8, batch_size=3)


def test_what_comes_back_is_the_translation_of_the_translation(marian_pair):
    there, back = map(str, marian_pair)
    foreign = generate_sentences(SENTENCES, there, SETTINGS, seed=4, copy=1)
    expected = generate_sentences(foreign, back, SETTINGS, seed=4, copy=1)
    assert back_translate(SENTENCES, there, back, SETTINGS, seed=4, copy=1) == expected
    assert len({*SENTENCES, *foreign, *expected}) > 2 * len(SENTENCES)


def test_both_directions_are_cached_and_told(marian_pair, tmp_path, generate_calls):
    there, back = map(str, marian_pair)
    told: list[tuple[str, int, int]] = []
    first, second = (
        back_translate(
            SENTENCES,
            there,
            back,
            SETTINGS,
            cache=tmp_path,
            progress=lambda *state: told.append(state),
        )
        for _ in range(2)
    )
    assert first == second
    assert generate_calls == [3, 1, 3, 1]
    once = [(there, 0, 4), (there, 3, 4), (there, 4, 4)]
    assert told[:3] == once
    assert told[3:6] == [(back, *counts) for _, *counts in once]
    assert told[6:] == [(there, 4, 4), (back, 4, 4)]
