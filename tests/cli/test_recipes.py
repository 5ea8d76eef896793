import json
from dataclasses import asdict

import pytest

from redrop.train.recipe import Recipe
from redrop.train.recipe_word import SETTINGS, SITES, parse_recipe
from redrop.train.recipes import RECIPES
from tests.cli.command import redrop

MINE = '[mine]\nlabel = "my own"\ndropout = { all = 0.15 }\ntrain = { weight_decay = 0.8 }\n'


def test_the_list_names_every_recipe_and_every_word():
    result = redrop("recipes")
    assert result.returncode == 0, result.stderr
    first_words = {line.split()[0] for line in result.stdout.splitlines() if line.strip()}
    assert {*RECIPES} <= first_words
    for word in (*SITES, *(word for labels in SETTINGS.values() for word in labels)):
        assert word in result.stdout


def test_one_recipe_is_shown_with_its_settings_and_its_source():
    result = redrop("recipes", "vaswani")
    text = " ".join(result.stdout.split())
    assert "label_smoothing 0.1" in text
    assert "Vaswani et al. 2017" in text
    assert "gpt2" not in text


@pytest.mark.parametrize("word", ["all-0.1", "weight_decay-1", "gpt2+weight_decay-1+mixup-0.2"])
def test_any_word_that_can_be_an_arm_is_shown(word):
    found = json.loads(redrop("recipes", word, "--json").stdout)
    assert found == {word: json.loads(json.dumps(asdict(parse_recipe(word))))}
    shown = redrop("recipes", word)
    assert shown.returncode == 0, shown.stderr
    assert word in shown.stdout


def test_json_holds_all_of_them_and_one_alone():
    found = json.loads(redrop("recipes", "--json").stdout)
    assert {name: Recipe.from_json(stored) for name, stored in found.items()} == RECIPES
    one = json.loads(redrop("recipes", "bert", "--json").stdout)
    assert one == {"bert": json.loads(json.dumps(asdict(RECIPES["bert"])))}


def test_recipes_of_ones_own_are_listed_too(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(MINE)
    assert "my own" in redrop("recipes", "--file", str(path)).stdout
    found = json.loads(redrop("recipes", "mine", "--file", str(path), "--json").stdout)
    assert found["mine"]["dropout"] == {"all": 0.15}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gpt3"], "got 'gpt3'. Did you mean 'gpt2'?"),
        (["weight_decay-abc"], "`weight_decay` must be a finite number of at least 0; got 'abc'"),
        (["all-2"], "`p` must lie in [0, 1]; got 2"),
        (["--file", "no-such.toml"], "`no-such.toml` cannot be read"),
        (["--file", "broken.toml"], "`broken.toml` is not TOML"),
        (["--file", "wrong.toml"], "`wrong.toml`: Recipe 'mine', dropout on `all`"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(tmp_path, arguments, said):
    (tmp_path / "broken.toml").write_text("[mine")
    (tmp_path / "wrong.toml").write_text("[mine]\ndropout = { all = 15 }")
    result = redrop("recipes", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
