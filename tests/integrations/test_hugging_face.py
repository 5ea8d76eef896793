"""Models of transformers: tiny, with random weights, and nothing but what lies here."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json
import subprocess
import sys
import warnings

import pytest
import torch

import redrop
from redrop.errors import UsageError
from redrop.integrations import convert, find_sites, load_causal_lm, set_rates
from redrop.integrations.hugging_face import vocab_size

transformers = pytest.importorskip("transformers")

GPT2 = (
    "gpt2:n_layer=2,n_embd=16,n_head=2,vocab_size=50,n_positions=32,bos_token_id=0,eos_token_id=0"
)
LLAMA = (
    "llama:num_hidden_layers=2,hidden_size=16,num_attention_heads=4,num_key_value_heads=2,"
    "intermediate_size=32,vocab_size=50,attention_dropout=0.2"
)
IDS = torch.arange(24).view(2, 12) % 50


def bert(attention):
    config = transformers.BertConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        vocab_size=50, attn_implementation=attention,
    )  # fmt: skip
    return transformers.BertForMaskedLM(config)


def t5(attention):
    config = transformers.T5Config(
        d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, vocab_size=50,
        decoder_start_token_id=0, attn_implementation=attention,
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


MODELS = {
    "gpt2": lambda attention: load_causal_lm(GPT2, attn_implementation=attention),
    "llama": lambda attention: load_causal_lm(LLAMA, attn_implementation=attention),
    "bert": bert,
    "t5": t5,
}
OPT = (
    "opt:hidden_size=16,num_hidden_layers=2,num_attention_heads=2,ffn_dim=32,vocab_size=50,"
    "word_embed_proj_dim=16,max_position_embeddings=32,layerdrop=0.0"
)
ATTENTION = {"sdpa": "scaled_dot_product_attention", "eager": "dropout"}


def inputs_of(name):
    if name == "t5":
        return {"input_ids": IDS, "decoder_input_ids": IDS[:, :5]}
    return {"input_ids": IDS, "attention_mask": torch.ones_like(IDS).index_fill(1, IDS[0, :2], 0)}


def sites(name, function):
    if name == "gpt2":
        blocks = [
            (f"transformer.h.{i}.{site}", kind)
            for i in (0, 1)
            for site, kind in [
                (f"attn:{function}", "attention_weights"),
                ("attn.resid_dropout", "attention_residual"),
                ("mlp.dropout", "feed_forward_residual"),
            ]
        ]
        return dict([("transformer.drop", "embedding"), *blocks])
    if name == "llama":
        return {f"model.layers.{i}.self_attn:{function}": "attention_weights" for i in (0, 1)}
    if name == "bert":
        layer = "bert.encoder.layer.0"
        return {
            "bert.embeddings.dropout": "embedding",
            f"{layer}.attention.self:{function}": "attention_weights",
            f"{layer}.attention.output.dropout": "attention_residual",
            f"{layer}.output.dropout": "feed_forward_residual",
        }
    return {
        "encoder.dropout": "other",  # both before the first block and after the last
        f"encoder.block.0.layer.0.SelfAttention:{function}": "attention_weights",
        "encoder.block.0.layer.0.dropout": "attention_residual",
        "encoder.block.0.layer.1.DenseReluDense.dropout": "feed_forward_hidden",
        "encoder.block.0.layer.1.dropout": "feed_forward_residual",
        "decoder.dropout": "other",
        f"decoder.block.0.layer.0.SelfAttention:{function}": "attention_weights",
        "decoder.block.0.layer.0.dropout": "attention_residual",
        f"decoder.block.0.layer.1.EncDecAttention:{function}": "attention_weights",
        "decoder.block.0.layer.1.dropout": "attention_residual",
        "decoder.block.0.layer.2.DenseReluDense.dropout": "feed_forward_hidden",
        "decoder.block.0.layer.2.dropout": "feed_forward_residual",
    }


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("name", MODELS)
def test_sites_are_found_and_their_kinds_are_right(name, attention):
    model = MODELS[name](attention)
    infos = [i for i in find_sites(model, inputs_of(name)) if i.calls]
    assert {i.name: i.kind for i in infos} == sites(name, ATTENTION[attention])
    assert {i.p for i in infos} == {0.2 if name == "llama" else 0.1}
    weights = [i for i in infos if i.kind == "attention_weights"]
    assert weights[0].shape == (2, 4 if name == "llama" else 2, 12, 12)


@pytest.mark.parametrize("attention", ATTENTION)
@pytest.mark.parametrize("name", MODELS)
def test_training_repeats_eval_is_clean_and_no_dropout_is_the_original(name, attention):
    model = MODELS[name](attention)
    inputs = inputs_of(name)
    with torch.no_grad():
        clean = model.eval()(**inputs).logits
    conversion = convert(model, inputs)
    state = redrop.attach(model, seed=5)
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, clean)
        model.train()
        logits = []
        for step in (1, 1, 2):
            state.set_step(step)
            logits.append(model(**inputs).logits)
        assert torch.equal(logits[0], logits[1])
        assert not torch.equal(logits[0], logits[2])
        with set_rates(conversion, {"all": 0.0}):
            without = model(**inputs).logits
    conversion.restore()
    with torch.no_grad():
        for module in model.modules():
            for rate in ("p", "dropout", "attention_dropout"):
                if isinstance(getattr(module, rate, None), float):
                    setattr(module, rate, 0.0)
        assert torch.equal(model(**inputs).logits, without)


@pytest.mark.parametrize("attention", ATTENTION)
def test_the_masks_are_those_of_the_reference(attention, monkeypatch):
    """transformers' own dropout, replaced by masks of the reference, gives the same logits."""
    model = MODELS["gpt2"]("eager")
    names = sites("gpt2", "dropout")
    order = iter(names)

    def reference(x, p=0.5, training=True, inplace=False):
        name = next(order).replace("attn:dropout", f"attn:{ATTENTION[attention]}")
        keep = redrop.replay(seed=5, step=3, site=name, p=p, shape=tuple(x.shape))
        return torch.where(torch.from_numpy(keep), x / (1 - p), 0.0)

    with monkeypatch.context() as patched, torch.no_grad():
        patched.setattr(torch.nn.functional, "dropout", reference)
        want = model(IDS).logits
    assert next(order, None) is None
    model.set_attn_implementation(attention)
    convert(model, IDS)
    redrop.attach(model, seed=5).set_step(3)
    torch.testing.assert_close(model(IDS).logits, want, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("name", ["gpt2", "llama", "opt"])
def test_gradient_checkpointing_meets_its_masks(name, use_reentrant):
    """transformers hands a bare function to torch; OPT calls dropout right in it."""
    results = []
    for is_on in (False, True):
        model = load_causal_lm({"gpt2": GPT2, "llama": LLAMA, "opt": OPT}[name])
        if is_on:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the name changed within transformers 5
                model.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        convert(model, {"input_ids": IDS, "use_cache": False})
        redrop.attach(model, seed=5).set_step(3)
        model(input_ids=IDS, labels=IDS, use_cache=False).loss.backward()
        results.append([p.grad for p in model.parameters()])
    for a, b in zip(*results, strict=True):
        torch.testing.assert_close(a, b)


def test_generation_works_on_a_converted_model():
    model = MODELS["gpt2"]("sdpa").eval()
    arguments = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0}
    want = model.generate(IDS[:, :3], **arguments)
    convert(model, IDS)
    assert torch.equal(model.generate(IDS[:, :3], **arguments), want)


def test_a_configuration_gives_weights_of_its_seed(tmp_path):
    one, same, other = (load_causal_lm(GPT2, seed=seed) for seed in (1, 1, 2))
    weights = [m.transformer.h[0].attn.c_attn.weight for m in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert (vocab_size(one), one.training) == (50, True)
    one.config.save_pretrained(tmp_path)
    for source in (tmp_path, tmp_path / "config.json", str(tmp_path)):
        again = load_causal_lm(source, seed=1)
        assert torch.equal(again.transformer.h[0].attn.c_attn.weight, weights[0])


def test_a_folder_with_weights_gives_them(tmp_path):
    model = load_causal_lm(GPT2, seed=3)
    model.save_pretrained(tmp_path)
    again = load_causal_lm(tmp_path, seed=9)
    assert torch.equal(again.transformer.wte.weight, model.transformer.wte.weight)


def test_torchs_generator_is_left_as_it_was():
    before = torch.get_rng_state()
    load_causal_lm(GPT2)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_odd_in_a_configuration_is_not_said_for_every_model(caplog):
    logging = pytest.importorskip("transformers").logging
    before = logging.get_verbosity()
    load_causal_lm("gpt2:n_layer=1,n_embd=16,n_head=2,vocab_size=50")  # its last token is 50256
    with pytest.raises(UsageError):
        load_causal_lm("gpt2:n_head=zero")
    assert caplog.messages == []
    assert logging.get_verbosity() == before


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gtp2", "`gtp2` is neither a folder"),
        ("gpt2:n_layers=2", "gpt2 configuration has no `n_layers`"),
        ("gpt2:n_layer", "Settings are written n_layer=2"),
        ("gpt2:n_embd=15,n_head=2,n_layer=1", "gives none"),
        ("t5", "causal language model of transformers is needed"),
        ("absent.json", "`absent.json` cannot be read"),
    ],
)
def test_mistakes_are_one_line(source, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_causal_lm(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("{", "is no JSON"), ('{"n_layer": 2}', "must say its `model_type`")]
)
def test_a_broken_configuration_is_one_line(tmp_path, text, message):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        load_causal_lm(tmp_path)


def test_attention_kernels_are_named(tmp_path):
    model = MODELS["llama"]("sdpa")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.warns(UserWarning, match="drops inside its kernel"):
        assert "the attention 'flash_attention_2'" in json.dumps(convert(model).outside)


def test_the_package_loads_without_transformers():
    script = "import sys, redrop.integrations; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
