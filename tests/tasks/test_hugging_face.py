"""Causal models of transformers on a text: tiny ones, and nothing but what lies here."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"

import json

import pytest
import torch

from redrop.errors import UsageError
from redrop.integrations import load_causal_lm
from redrop.nn import SiteModule
from redrop.study.plan import make_plan, planned_runs
from redrop.study.question import Question
from redrop.tasks import hugging_face
from redrop.tasks.load import load_task
from redrop.tasks.spec import TaskSpec
from redrop.train.recipe import Recipe
from redrop.train.recipe_word import parse_recipe
from redrop.train.run import Run
from tests.tasks import small

pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

GPT2 = "gpt2:n_layer=1,n_embd=16,n_head=2,n_positions=32,bos_token_id=0,eos_token_id=0"
LLAMA = (
    "llama:num_hidden_layers=1,hidden_size=16,num_attention_heads=2,num_key_value_heads=1,"
    "intermediate_size=32,max_position_embeddings=32,pad_token_id=0,bos_token_id=0,eos_token_id=0"
)
TEXT = "reference:6000"
CONTEXT = {"context": 16}


def spec(model, **changes):
    return TaskSpec(source=TEXT, network="module", model=f"hf:{model}", **changes)


def task(model=f"{GPT2},vocab_size=90", **changes):
    return load_task(spec(model, **changes), CONTEXT)


def rates(model):
    """Rate of each site; the layer on attention weights is not called where sdpa is."""
    found = {name: m.p for name, m in model.named_modules() if isinstance(m, SiteModule)}
    return {name: p for name, p in found.items() if not name.endswith("attn_dropout")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as transformers writes one: configuration, weights, tokenizer."""
    place = tmp_path_factory.mktemp("model")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=300, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the cat sat on the mat, and the dog ran"] * 20, trainer)
    tokenizer.save(str(place / "tokenizer.json"))
    load_causal_lm(f"{GPT2},vocab_size={tokenizer.get_vocab_size()}", seed=7).save_pretrained(place)
    return place


def test_rates_are_the_recipes_or_the_models_own():
    sites = [
        "transformer.drop",
        "transformer.h.0.attn.resid_dropout",
        "transformer.h.0.mlp.dropout",
        "transformer.h.0.attn:scaled_dot_product_attention",
    ]
    for recipe, want in [
        (Recipe(name="none"), [0, 0, 0, 0]),
        (parse_recipe("as-is"), [0.1, 0.1, 0.1, 0.1]),
        (parse_recipe("all-0.3"), [0.3, 0.3, 0.3, 0.3]),
        (parse_recipe("attention_weights-0.3"), [0, 0, 0, 0.3]),
        (parse_recipe("as-is+embedding-0"), [0, 0.1, 0.1, 0.1]),
        (Recipe(name="r", dropout={"transformer.h.0.*": 0.2}), [0, 0.2, 0.2, 0.2]),
    ]:
        found = rates(task().with_recipe(recipe).build(0))
        assert found == dict(zip(sites, want, strict=True)), recipe.name


@pytest.mark.parametrize("model", [GPT2, LLAMA])
def test_a_model_by_name_trains_on_a_text(model, tmp_path):
    mine = task(f"{model},vocab_size=90")
    changes = {"steps": 30, "eval_every": 30, "learning_rate": 1e-2, "min_learning_rate": 1e-3}
    losses = []
    for number, word in enumerate(["none", "all-0.3", "all-0.3"]):
        trained = mine.with_recipe(parse_recipe(word))
        result, events = small.run(trained, tmp_path / str(number), **changes)
        assert result.status == "done"
        losses.append((events[0]["train_loss"], result.test_loss_final))
    assert losses[0] != losses[1] == losses[2]
    assert losses[0][1] < 4.0  # a guess among 90 tokens costs 4.5
    assert result.test_metrics_final.keys() == {"accuracy"}


def test_initial_weights_are_those_of_the_seed_in_every_arm():
    one, same, other = (
        task().with_recipe(parse_recipe(word)).build(seed).state_dict()
        for word, seed in (("none", 1), ("all-0.5", 1), ("none", 2))
    )
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(
        one["transformer.h.0.mlp.c_fc.weight"], other["transformer.h.0.mlp.c_fc.weight"]
    )


def test_a_local_folder_gives_weights_and_tokenizer(folder):
    mine = task(folder)
    assert mine.corpus.tokenizer.vocab_size == mine.model.vocab_size
    text = mine.corpus.tokenizer.decode(mine.corpus.train[:9])
    assert (
        load_task(TaskSpec(source=TEXT))
        .corpus.tokenizer.decode(load_task(TaskSpec(source=TEXT)).corpus.train[:200])
        .startswith(text)
    )
    stored = load_causal_lm(folder).transformer.wte.weight
    for seed in (0, 1):
        assert torch.equal(mine.build(seed).transformer.wte.weight, stored)


def test_other_weights_are_other_data(folder, tmp_path):
    one = task(folder)
    assert one.describe()["sha256"] == one.sha256 == task(folder).sha256 != one.corpus.sha256
    assert one.with_recipe(parse_recipe("all-0.1")).sha256 == one.sha256
    load_causal_lm(folder / "config.json", seed=8).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text((folder / "tokenizer.json").read_text())
    assert task(tmp_path).sha256 != one.sha256
    assert task().sha256 == task().corpus.sha256


def test_a_plan_finds_its_task_again():
    mine = task()
    settings = mine.settings()
    assert json.loads(json.dumps(settings)) == settings
    arms = (parse_recipe("none"), parse_recipe("as-is"), parse_recipe("all-0.2+mask-0.1"))
    plan = make_plan(
        name="plan", arms=arms, seeds=(0,), task=spec(f"{GPT2},vocab_size=90"),
        model=settings["model"], train=small.train_config(), data=mine.describe(),
        torch_version="2", margin=0.01, command="",
    )  # fmt: skip
    again = load_task(TaskSpec.from_json(plan.settings["task"]), plan.settings["model"])
    assert again.sha256 == plan.data_sha256
    assert len({run.id for run in planned_runs(plan)}) == 3


def test_only_training_text_is_augmented():
    mine = task()
    word = "synonyms-0.3+swap-0.2"
    one, same, other = (mine.with_recipe(parse_recipe(word), seed) for seed in (0, 0, 1))
    assert one.corpus.train.numel() > mine.corpus.train.numel()
    assert torch.equal(one.corpus.train, same.corpus.train)
    assert not torch.equal(one.corpus.train, other.corpus.train)
    for part in ("validation", "test"):
        assert getattr(one.corpus, part) is getattr(mine.corpus, part)


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (f"{GPT2},vocab_size=20", CONTEXT,
         r"knows 20 tokens, 'reference:6000' has \d\d\. Write hf:gpt2:vocab_size=\d\d, or use"),
        (f"{GPT2},vocab_size=90", {"context": 33},
         "reads at most 32 tokens; got a context of 33. Use less"),
        ("gtp2", CONTEXT, "`gtp2` is neither a folder"),
        ("gpt2:n_layers=1", CONTEXT, "has no `n_layers`"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(model, settings, message):
    with pytest.raises(UsageError, match=message) as caught:
        load_task(spec(model), settings).check(parse_recipe("none"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe(name="r", model={"norm": "post"}), "'r' changes norm; a Hugging Face model has"),
        (Recipe(name="r", dropout={"drop_path": 0.1}), "`drop_path` is a kind .* Sites: transform"),
        (Recipe(name="r", dropout={"blocks.*": 0.1}), "`blocks.\\*` names no site. Sites: transf"),
        (Recipe(name="r", augment={"mixup": 0.1}), "A text can be augmented by mask"),
    ],
)
def test_a_recipe_that_does_not_fit_is_one_line(recipe, message):
    with pytest.raises(UsageError, match=message) as caught:
        task().check(recipe)
    assert "\n" not in str(caught.value)


BERT = (
    "bert:num_hidden_layers=1,hidden_size=16,num_attention_heads=2,intermediate_size=32,"
    "max_position_embeddings=32,vocab_size=90"
)


def test_a_model_that_sees_what_it_predicts_is_refused_in_one_line(caplog):
    with pytest.raises(UsageError, match="the last token changes what is said before") as caught:
        task(BERT).check(parse_recipe("none"))
    advised = BERT.replace("bert:", "hf:bert:is_decoder=true,")
    assert str(caught.value).endswith(f"Write {advised}, or take a causal type, such as hf:gpt2.")
    assert "\n" not in str(caught.value)
    mine = task(advised.removeprefix("hf:"))
    mine.check(parse_recipe("none"))
    mine.build(0)
    assert caplog.messages == []


def test_a_folder_with_a_model_that_sees_what_it_predicts_is_refused(tmp_path):
    load_causal_lm(BERT).save_pretrained(tmp_path)
    mine = load_task(spec(tmp_path, tokenizer="char"), CONTEXT)
    with pytest.raises(UsageError, match="Set `is_decoder` in its configuration, if it has that"):
        mine.parameters(parse_recipe("none"))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("model", [GPT2, LLAMA])
def test_causal_models_are_known_as_such_in_every_precision(model, dtype, tmp_path):
    load_causal_lm(f"{model},vocab_size=90").to(getattr(torch, dtype)).save_pretrained(tmp_path)
    load_task(spec(tmp_path, tokenizer="char"), CONTEXT).check(parse_recipe("all-0.5"))


def test_a_context_of_one_token_has_nothing_to_leak():
    load_task(spec(f"{GPT2},vocab_size=90"), {"context": 1}).check(parse_recipe("none"))


def test_what_transformers_warns_of_is_shown_once_and_not_at_every_run(tmp_path, caplog):
    transformers = pytest.importorskip("transformers")
    load_causal_lm(f"{GPT2},vocab_size=90").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "n_layer": 2}))
    before = transformers.logging.get_verbosity()
    mine = load_task(spec(tmp_path, tokenizer="char"), CONTEXT)
    caplog.clear()
    mine.check(parse_recipe("none"))
    assert "transformer.h.1" in caplog.text  # has no weights there
    caplog.clear()
    mine.build(0)
    assert caplog.messages == []
    assert transformers.logging.get_verbosity() == before


@pytest.fixture
def built(monkeypatch):
    """The models that are built, by the seeds they were built from."""
    seeds = []

    def load(source, *, seed=0):
        seeds.append(seed)
        return load_causal_lm(source, seed=seed)

    monkeypatch.setattr(hugging_face, "load_causal_lm", load)
    load_task.__globals__["_load"].cache_clear()
    return seeds


def test_one_model_is_built_for_a_plan_and_one_for_a_run(built):
    mine = task()
    assert built == []
    arms = tuple(map(parse_recipe, ("none", "as-is", "all-0.1", "all-0.2+mask-0.1")))
    asked = Question(
        spec=spec(f"{GPT2},vocab_size=90"), task=mine, train=small.train_config(), margin=0.01,
        command="",
    )  # fmt: skip
    plan = asked.plan(arms, [0, 1])
    assert asked.plan(arms, [0]).parameters == plan.parameters == mine.parameters(arms[1])
    assert built == [0]
    # Tokens and positions, one block of GPT-2 (12 C² + 13 C), a last norm; the head is tied.
    assert plan.parameters == (90 + 32) * 16 + 12 * 16**2 + 13 * 16 + 2 * 16
    built.clear()
    Run(mine.with_recipe(arms[2], 3), small.train_config(seed=3))
    assert built == [3]


def test_only_arms_that_are_not_known_to_fit_build_a_model(built):
    mine, (none, dropped) = task(), map(parse_recipe, ("none", "all-0.1"))
    mine.check(none)
    mine.check(none, dropped)
    mine.check(dropped, none)
    assert built == [0, 0]
    with pytest.raises(UsageError, match="names no site"):
        mine.check(none, Recipe(name="r", dropout={"blocks.*": 0.1}))
    with pytest.raises(UsageError, match="names no site"):
        mine.check(Recipe(name="r", dropout={"blocks.*": 0.1}))
