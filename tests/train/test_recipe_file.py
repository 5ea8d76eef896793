import pytest

from redrop.errors import UsageError
from redrop.train.recipe_file import read_recipes
from redrop.train.recipe_word import parse_recipe


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_recipes_are_read_by_name_in_their_order(written):
    recipes = read_recipes(
        written("""
        [second]
        [mine]
        label = "dropout 0.15 and strong decay"
        dropout = { all = 0.15, embedding = 0.0 }
        train = { weight_decay = 0.8, schedule = "linear" }
        model = { residual = true }
        source = "my notes"
        [mine.augment]
        mixup = 0.2
        """)
    )
    assert list(recipes) == ["second", "mine"]
    mine = recipes["mine"]
    assert mine.name == "mine"
    assert mine.label == "dropout 0.15 and strong decay"
    assert dict(mine.dropout) == {"all": 0.15, "embedding": 0.0}
    assert dict(mine.train) == {"weight_decay": 0.8, "schedule": "linear"}
    assert dict(mine.model) == {"residual": True}
    assert dict(mine.augment) == {"mixup": 0.2}
    assert recipes["second"].label == "second", "a name is the label where there is no other"
    assert recipes["second"].is_baseline
    assert parse_recipe("mine+all-0.3", recipes).dropout["all"] == 0.3


def test_an_empty_file_has_no_recipes(written):
    assert read_recipes(written("")) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[mine", "is not TOML"),
        ("x = 1\nx = 2", "is not TOML"),
        (b"\xff\xfe\x00", "is not TOML"),
        ("mine = 0.1", "each recipe is a table `[name]`; `mine` is 0.1. Write [mine]"),
        ("[[mine]]\nlabel = 'x'", "each recipe is a table"),
        ("[mine]\nrates = { all = 0.1 }", "unknown: rates"),
        ("[mine]\ndropout = 0.1", "Recipe 'mine': `dropout` must be a table"),
        ("[mine]\ndropout = { all = 1.5 }", "Recipe 'mine', dropout on `all`"),
        ("[mine]\ndropout = { all = nan }", "Recipe 'mine', dropout on `all`"),
        ("[mine]\ndropout = { all = '0.1' }", "Recipe 'mine', dropout on `all`"),
        ("[mine]\ntrain = { weight_decay = [1] }", "`train.weight_decay` must be a number"),
        ("[mine]\ntrain = { since = 2026-11-22 }", "`train.since` must be a number"),
        ("[mine]\nlabel = 3", "`label` must be a text; got 3"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_file(written, text, said):
    path = written(text)
    with pytest.raises(UsageError) as caught:
        read_recipes(path)
    message = " ".join(str(caught.value).split())
    assert said in message
    assert str(path) in message


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no\.toml` cannot be read: No such file"):
        read_recipes(tmp_path / "no.toml")
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        read_recipes(tmp_path)
