from redrop.regularize.text.generate import generate_sentences
from redrop.regularize.text.generation_settings import GenerationSettings
from redrop.regularize.text.paraphrase import paraphrase

SENTENCES = ["The cat sat.", "A dog ran!", "Is it so?"]
SETTINGS = GenerationSettings(temperature=0, new_tokens=8)


def test_the_prompt_stands_before_each_sentence(t5):
    expected = generate_sentences([f"say again: {each}" for each in SENTENCES], str(t5), SETTINGS)
    assert paraphrase(SENTENCES, str(t5), SETTINGS, prompt="say again: ") == expected
    assert paraphrase(SENTENCES, str(t5), SETTINGS, prompt="") != expected


def test_a_second_call_generates_nothing(t5, tmp_path, generate_calls):
    first = paraphrase(SENTENCES, str(t5), SETTINGS, cache=tmp_path)
    assert paraphrase(SENTENCES, str(t5), SETTINGS, cache=tmp_path) == first
    assert generate_calls == [3]
