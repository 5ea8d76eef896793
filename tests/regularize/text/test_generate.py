from pathlib import Path

import pytest
import torch

from redrop.errors import UsageError
from redrop.regularize.text.generate import generate_sentences
from redrop.regularize.text.generation_cache import FILE
from redrop.regularize.text.generation_settings import GenerationSettings
from redrop.regularize.text.gumbel_noise import sentence_seed
from redrop.regularize.text.text_model import find_model, load

SENTENCES = ["the cat sat.", "a dog ran, and it saw the cat!", "is it so?", "no.", "the mat ran."]
SAMPLED = GenerationSettings(new_tokens=8, batch_size=2)
GREEDY = GenerationSettings(temperature=0, new_tokens=8, batch_size=2)


def write_alone(place: Path, sentence: str, settings: GenerationSettings, seed: int = 0) -> str:
    """One sentence word by word, from the definition: no batch, no padding, no `generate`."""
    network, tokenizer = load(find_model(str(place)))
    pad, end = network.config.pad_token_id, network.config.eos_token_id
    draws = torch.Generator().manual_seed(sentence_seed(seed, 0, "", sentence))
    read = tokenizer(sentence, return_tensors="pt")["input_ids"]
    written = [network.config.decoder_start_token_id]
    is_marian = network.config.model_type == "marian"
    for left in reversed(range(settings.new_tokens)):
        with torch.no_grad():
            logits = network(input_ids=read, decoder_input_ids=torch.tensor([written])).logits
        scores = logits[0, -1]
        if is_marian:
            scores[pad] = -torch.inf
            if left == 0:
                scores = torch.full_like(scores, -torch.inf).index_fill(0, torch.tensor(end), 0.0)
        if settings.temperature:
            noise = torch.empty(len(scores)).exponential_(generator=draws).log()
            scores = scores / settings.temperature - noise
        written.append(int(scores.argmax()))
        if written[-1] == end:
            break
    return " ".join(tokenizer.decode(written, skip_special_tokens=True).split())


@pytest.mark.parametrize("settings", [SAMPLED, GREEDY], ids=["sampled", "greedy"])
def test_a_batch_says_what_each_sentence_says_alone(marian_pair, settings):
    place = marian_pair[0]
    texts = generate_sentences(SENTENCES, str(place), settings)
    assert texts == [write_alone(place, each, settings) for each in SENTENCES]
    assert len(set(texts)) > 1


def test_t5_says_what_each_sentence_says_alone(t5):
    texts = generate_sentences(SENTENCES, str(t5), SAMPLED, seed=5)
    assert texts == [write_alone(t5, each, SAMPLED, seed=5) for each in SENTENCES]


def test_neither_order_nor_batches_nor_repeats_move_a_sample(marian_pair):
    place = str(marian_pair[0])
    texts = dict(zip(SENTENCES, generate_sentences(SENTENCES, place, SAMPLED), strict=True))
    large = GenerationSettings(new_tokens=8, batch_size=16)
    order = [*reversed(SENTENCES), SENTENCES[0], SENTENCES[3]]
    assert generate_sentences(order, place, large) == [texts[each] for each in order]


def test_seed_and_copy_draw_other_texts_and_beam_search_none(marian_pair):
    place = str(marian_pair[0])
    first, again, seeded, copied = (
        generate_sentences(SENTENCES, place, SAMPLED, seed=seed, copy=copy)
        for seed, copy in ((0, 0), (0, 0), (1, 0), (0, 1))
    )
    assert first == again
    assert len({tuple(first), tuple(seeded), tuple(copied)}) == 3
    beams = GenerationSettings(temperature=0, beams=3, new_tokens=8)
    assert generate_sentences(SENTENCES, place, beams) == generate_sentences(
        SENTENCES, place, beams, seed=1
    )


def test_beam_search_finds_what_transformers_finds(marian_pair):
    network, tokenizer = load(find_model(str(marian_pair[0])))
    expected = []
    for each in SENTENCES:
        read = tokenizer(each, return_tensors="pt")
        ids = network.generate(**read, num_beams=3, max_new_tokens=8)
        expected.append(" ".join(tokenizer.decode(ids[0], skip_special_tokens=True).split()))
    beams = GenerationSettings(temperature=0, beams=3, new_tokens=8, batch_size=2)
    assert generate_sentences(SENTENCES, str(marian_pair[0]), beams) == expected


def test_a_prefix_is_read(t5):
    plain = generate_sentences(SENTENCES, str(t5), GREEDY)
    told = generate_sentences(SENTENCES, str(t5), GREEDY, prefix="say again: ")
    joined = generate_sentences([f"say again: {each}" for each in SENTENCES], str(t5), GREEDY)
    assert told == joined != plain


def test_a_second_call_generates_nothing_and_the_cache_says_the_same(
    marian_pair, tmp_path, generate_calls
):
    place = str(marian_pair[0])
    without = generate_sentences(SENTENCES, place, SAMPLED)
    assert generate_calls == [2, 2, 1]
    first = generate_sentences(SENTENCES, place, SAMPLED, cache=tmp_path)
    second = generate_sentences(SENTENCES, place, SAMPLED, cache=tmp_path)
    assert first == second == without
    assert generate_calls == [2, 2, 1] * 2


def test_only_new_sentences_are_generated(marian_pair, tmp_path, generate_calls):
    place = str(marian_pair[0])
    generate_sentences(SENTENCES[:4], place, SAMPLED, cache=tmp_path)
    told = []
    texts = generate_sentences(
        SENTENCES, place, SAMPLED, cache=tmp_path, progress=lambda *state: told.append(state)
    )
    assert generate_calls == [2, 2, 1]
    assert told == [(place, 4, 5), (place, 5, 5)]
    assert texts == generate_sentences(SENTENCES, place, SAMPLED)


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"copy": 1},
        {"prefix": "a "},
        {"settings": GenerationSettings(new_tokens=7, batch_size=2)},
        {"settings": GREEDY},
    ],
    ids=["seed", "copy", "prefix", "new_tokens", "temperature"],
)
def test_another_request_is_another_entry(marian_pair, tmp_path, generate_calls, change):
    place = str(marian_pair[0])
    generate_sentences(SENTENCES[:2], place, SAMPLED, cache=tmp_path)
    asked = {"settings": SAMPLED, **change}
    texts = generate_sentences(SENTENCES[:2], place, cache=tmp_path, **asked)
    assert generate_calls == [2, 2]
    assert texts == generate_sentences(SENTENCES[:2], place, **asked)


def test_another_batch_size_is_the_same_entry(marian_pair, tmp_path, generate_calls):
    place = str(marian_pair[0])
    generate_sentences(SENTENCES, place, SAMPLED, cache=tmp_path)
    large = GenerationSettings(new_tokens=8, batch_size=5)
    generate_sentences(SENTENCES, place, large, cache=tmp_path)
    assert generate_calls == [2, 2, 1]


@pytest.mark.parametrize("torn", [0, 1, 25], ids=["whole", "without newline", "torn"])
def test_an_interrupted_run_goes_on_where_it_stopped(marian_pair, tmp_path, generate_calls, torn):
    place = str(marian_pair[0])

    def stop(_model: str, done: int, _total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_sentences(SENTENCES, place, SAMPLED, cache=tmp_path, progress=stop)
    file = tmp_path / FILE
    content = file.read_bytes()
    assert content.count(b"\n") == 4
    file.write_bytes(content[: len(content) - torn])

    texts = generate_sentences(SENTENCES, place, SAMPLED, cache=tmp_path)
    assert texts == generate_sentences(SENTENCES, place, SAMPLED, cache=tmp_path)
    left = [2] if torn == 25 else [1]
    assert generate_calls == [2, 2, *left]
    assert texts == generate_sentences(SENTENCES, place, SAMPLED)


def test_a_sentence_too_long_to_read_comes_back_as_it_is(marian_pair, tmp_path, generate_calls):
    place = str(marian_pair[0])
    window = "the cat sat on the mat, " * 3  # 72 letters and spaces; the network has 64 positions
    settings = GenerationSettings(new_tokens=8, longest=10)
    sentences = ["no.", "the cat sat.", window.strip()]
    for _ in range(2):
        texts = generate_sentences(sentences, place, settings, cache=tmp_path)
        assert texts[1:] == sentences[1:]
        assert texts[0] != sentences[0]
    assert generate_calls == [1]
    wide = GenerationSettings(new_tokens=8, longest=500)
    assert generate_sentences(sentences, place, wide)[2] == sentences[2]


def test_sentences_left_as_they_are_count_as_done(marian_pair):
    told = []
    settings = GenerationSettings(new_tokens=8, longest=1)
    texts = generate_sentences(
        SENTENCES, str(marian_pair[0]), settings, progress=lambda _, *state: told.append(state)
    )
    assert texts == SENTENCES
    assert told == [(0, 5), (5, 5)]


def test_a_model_with_little_room_writes_no_further(marian_pair):
    """The tiny model has 64 positions, and 256 tokens are asked for."""
    settings = GenerationSettings(temperature=0)
    texts = generate_sentences(SENTENCES, str(marian_pair[0]), settings)
    assert 30 < max(map(len, texts)) < 64


def test_the_generator_of_torch_does_not_move(marian_pair):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    generate_sentences(SENTENCES[:1], str(marian_pair[0]), SAMPLED)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_screen_is_left_alone(marian_pair, capfd):
    too_long = "the cat sat on the mat, " * 30
    generate_sentences([*SENTENCES, too_long], str(marian_pair[0]), SAMPLED)
    assert capfd.readouterr() == ("", "")


def test_no_sentence_is_no_work(marian_pair, generate_calls):
    assert generate_sentences([], str(marian_pair[0]), SAMPLED) == []
    assert generate_calls == []


def test_a_cache_that_cannot_be_written_is_told(marian_pair, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="A cache is a folder; .*file` is a file"):
        generate_sentences(SENTENCES, str(marian_pair[0]), SAMPLED, cache=tmp_path / "file")
