import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from redrop.errors import UsageError
from redrop.regularize.text.generate import generate_sentences
from redrop.regularize.text.generation_settings import GenerationSettings
from redrop.regularize.text.text_model import find_model, load

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def broken(marian_pair: tuple[Path, Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(marian_pair[0], tmp_path / "broken"))


def refusal(call, *arguments) -> str:
    with pytest.raises(UsageError) as caught:
        call(*arguments)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_loaded_model_is_in_eval_mode_and_whole(marian_pair):
    network, tokenizer = load(find_model(str(marian_pair[0])))
    assert not network.training
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    assert tokenizer.decode(tokenizer("the cat")["input_ids"], skip_special_tokens=True)


def test_the_identity_is_that_of_the_weights(marian_pair, broken):
    there, back = (find_model(str(place)) for place in marian_pair)
    assert find_model(str(broken)).identity == there.identity != back.identity
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps(config | {"decoder_start_token_id": 3}))
    assert find_model(str(broken)).identity != there.identity


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere", "a/b/c", "~/nowhere"])
def test_a_missing_folder_is_told(hub, name):
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    message = refusal(find_model, name)
    assert message.startswith(f"A model is a folder with config.json and weights; `{name}` is none")


@pytest.mark.parametrize(
    "name", ["Helsinki-NLP/opus-mt-en-de", "no-such-model", "two words", "a@b"]
)
def test_a_hub_that_cannot_be_reached_is_told(hub, name, tmp_path, monkeypatch):
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    message = refusal(find_model, name)
    assert f"`{name}` is no folder here, and the hub did not give it (" in message
    assert message.endswith("or download the model and name its folder.")


@pytest.mark.parametrize("asked", ["", "@main", f"@{COMMIT}"])
def test_a_hub_id_comes_from_the_hubs_own_cache_by_its_commit(
    marian_pair, tmp_path, monkeypatch, asked
):
    """The cache laid out as the hub's library does, its network switched off."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    stored = tmp_path / "models--tiny--en-de"
    shutil.copytree(marian_pair[0], stored / "snapshots" / COMMIT)
    (stored / "refs").mkdir()
    (stored / "refs/main").write_text(COMMIT)

    found = find_model(f"tiny/en-de{asked}")
    assert (found.place, found.revision) == ("tiny/en-de", COMMIT)
    assert found.identity == f"hub:tiny/en-de@{COMMIT}"
    settings = GenerationSettings(new_tokens=8)
    assert generate_sentences(["no."], f"tiny/en-de{asked}", settings) == generate_sentences(
        ["no."], str(marian_pair[0]), settings
    )


def test_a_model_that_continues_text_is_refused(hub, tmp_path):
    transformers = pytest.importorskip("transformers", reason="the extra hf is not installed")
    transformers.GPT2Config(n_layer=1).save_pretrained(tmp_path)
    assert "is a gpt2, which is not. Name another." in refusal(find_model, str(tmp_path))


def test_a_folder_without_a_model_is_refused(hub, tmp_path):
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    assert f"`{tmp_path}` cannot be loaded" in refusal(find_model, str(tmp_path))
    (tmp_path / "config.json").write_text("{not json")
    assert f"`{tmp_path}` cannot be loaded" in refusal(find_model, str(tmp_path))
    (tmp_path / "config.json").write_text('{"model_type": "nothing known"}')
    assert f"`{tmp_path}` cannot be loaded" in refusal(find_model, str(tmp_path))


def damage(place: Path, kind: str) -> None:
    weights = place / "model.safetensors"
    if kind == "no weights":
        weights.unlink()
    elif kind == "cut weights":
        weights.write_bytes(weights.read_bytes()[:1000])
    elif kind == "no tokenizer":
        for name in ("source.spm", "target.spm", "vocab.json", "tokenizer_config.json"):
            (place / name).unlink()
    elif kind == "broken tokenizer":
        (place / "source.spm").write_bytes(b"no model")
    elif kind == "other shape":
        config = json.loads((place / "config.json").read_text())
        (place / "config.json").write_text(json.dumps(config | {"d_model": 32}))


@pytest.mark.parametrize(
    "kind", ["no weights", "cut weights", "no tokenizer", "broken tokenizer", "other shape"]
)
def test_a_broken_folder_is_told_in_one_line(broken, kind):
    damage(broken, kind)
    message = refusal(lambda: load(find_model(str(broken))))
    assert f"`{broken}` cannot be loaded" in message


def test_weights_that_are_not_all_there_are_refused(broken):
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    name = "model.decoder.layers.0.fc1.weight"
    del weights[name]
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    message = refusal(lambda: load(find_model(str(broken))))
    assert f"lacks 1 tensors, such as {name}. Download it again." in message


def test_without_transformers_the_extra_is_named():
    """In a process whose imports fail as they do where the package is not installed."""
    script = """
import sys
sys.modules["transformers"] = None
from redrop.errors import UsageError
from redrop.regularize.text.text_model import find_model
try:
    find_model("anything")
except UsageError as error:
    print(error)
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stdout == (
        "Back-translation and paraphrasing need the package `transformers`, which is not"
        " installed. Run: pip install 'redrop[hf]'\n"
    )
