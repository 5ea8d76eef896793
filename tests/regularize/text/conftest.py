"""Tiny Marian and T5 models with random weights: built, saved, and loaded like real ones."""

import io
import json
import os
import warnings
from pathlib import Path

import pytest
import torch

os.environ["HF_HUB_OFFLINE"] = "1"

ENGLISH = ["The cat sat on the mat.", "A dog ran, and it saw the cat!", "Is it so? No."]
GERMAN = ["Die Katze sass auf der Matte.", "Ein Hund lief und sah die Katze!", "Ist es so? Nein."]
PROMPT = "say again: "


@pytest.fixture(autouse=True)
def _offline(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold for a hub library that another test loaded before the variable was set, too."""
    if {"marian_pair", "t5", "hub"} & set(request.fixturenames):
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def hub() -> None:
    """Ask for the library of the hub."""
    pytest.importorskip("huggingface_hub", reason="the extra hf is not installed")


@pytest.fixture(scope="session")
def marian_pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two folders, English to German and back."""
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    pytest.importorskip("sentencepiece", reason="the extra hf is not installed")
    place = tmp_path_factory.mktemp("marian")
    there, back = place / "en-de", place / "de-en"
    save_marian(there, ENGLISH, GERMAN, seed=0)
    save_marian(back, GERMAN, ENGLISH, seed=1)
    return there, back


@pytest.fixture(scope="session")
def t5(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a T5 that reads and writes words."""
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    place = tmp_path_factory.mktemp("t5") / "paraphraser"
    save_t5(place, seed=2)
    return place


def save_marian(place: Path, source: list[str], target: list[str], seed: int) -> None:
    from transformers import MarianConfig, MarianMTModel, MarianTokenizer

    place.mkdir()
    pieces: dict[str, None] = {}
    for name, text in (("source", source), ("target", target)):
        pieces |= dict.fromkeys(_train_sentencepiece(place / f"{name}.spm", text))
    words = ["</s>", "<unk>", *(piece for piece in pieces if piece[0] != "<"), "<pad>"]
    (place / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
        files = (place / "source.spm", place / "target.spm", place / "vocab.json")
        MarianTokenizer(*map(str, files)).save_pretrained(place)
    pad = len(words) - 1
    config = MarianConfig(
        vocab_size=len(words),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
        pad_token_id=pad,
        eos_token_id=0,
        forced_eos_token_id=0,
        decoder_start_token_id=pad,
        dropout=0.5,  # would be seen if a model were not in eval mode
    )
    _save(MarianMTModel, config, place, seed, bad_words_ids=[[pad]])


def save_t5(place: Path, seed: int) -> None:
    import tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

    words = ["<pad>", "</s>", "<unk>"]
    split = tokenizers.pre_tokenizers.Whitespace()
    for text in (PROMPT, *ENGLISH):
        words += [word for word, _ in split.pre_tokenize_str(text) if word not in words]
    ids = {word: i for i, word in enumerate(words)}
    trained = tokenizers.Tokenizer(tokenizers.models.WordLevel(ids, unk_token="<unk>"))
    trained.pre_tokenizer = split
    trained.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=trained, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(place)
    config = T5Config(
        vocab_size=len(words),
        d_model=16,
        d_kv=8,
        d_ff=16,
        num_layers=1,
        num_heads=2,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
        dropout_rate=0.5,
    )
    _save(T5ForConditionalGeneration, config, place, seed)


def _save(network: type, config: object, place: Path, seed: int, **generation: object) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = network(config)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                # large weights where the decoder reads: the text depends on the sentence
                is_cross = "encoder_attn." in name or "EncDecAttention." in name
                parameter.mul_(20 if is_cross else 4)
    for name, value in generation.items():
        setattr(model.generation_config, name, value)
    model.save_pretrained(place)


def _train_sentencepiece(path: Path, text: list[str]) -> list[str]:
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_writer=out,
        model_type="char",
        vocab_size=60,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
    )
    path.write_bytes(out.getvalue())
    model = sentencepiece.SentencePieceProcessor(model_proto=out.getvalue())
    return [model.id_to_piece(i) for i in range(model.get_piece_size())]


@pytest.fixture
def generate_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch sizes of the calls of transformers' own `generate`, which still does the work."""
    from transformers import GenerationMixin

    calls: list[int] = []
    original = GenerationMixin.generate

    def counted(self: object, inputs: torch.Tensor, **options: object) -> object:
        calls.append(len(inputs))
        return original(self, inputs, **options)

    monkeypatch.setattr(GenerationMixin, "generate", counted)
    return calls
