import json

import pytest
import torch

from redrop.cli.sites import parse_inputs, sites
from redrop.errors import UsageError
from tests.cli.command import TINY, redrop

MODULE = """
import torch
import torch.nn.functional as F
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(0.25), nn.Linear(16, 8))
        self.off = nn.Dropout(0.0)

    def forward(self, x, mask=None):
        assert mask is None or mask.dtype == torch.bool
        return F.dropout(self.off(self.mlp(x)), 0.5, self.training)


def build():
    return Net()


def with_inputs():
    return Net(), torch.ones(3, 8)


ready = Net()
plain = nn.Linear(8, 8)


def recurrent():
    return nn.LSTM(8, 8, 2, dropout=0.5)


def fails():
    raise RuntimeError("on purpose.\\nand more")


def wrong():
    return 5


def needs(width):
    return Net()
"""
TABLE = {
    "mlp.2": ("feed_forward_hidden", "0.25", "3 × 16", "48", "1"),
    "off": ("other", "0", "3 × 8", "24", "1"),
    "Net:dropout": ("other", "0.5", "3 × 8", "24", "1"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "redrop_my_module.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_a_table_lists_every_site_with_a_total(capsys):
    sites("redrop_my_module:build", input_=("3,8",))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["site", "kind", "p", "shape", "elements", "calls"]
    for line, (name, cells) in zip(lines[1:4], TABLE.items(), strict=True):
        assert line.split() == [name, *" ".join(cells).split()]
    assert lines[4] == "3 sites, 2 with p > 0; 96 elements per forward"


def listed(capsys, *arguments, **keywords):
    sites(*arguments, json_=True, **keywords)
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("build", ("3,8",)),
        ("ready", ("x=3,8", "mask=3:bool")),
        ("Net", ("3,8", "3:bool")),
        ("with_inputs", ()),
    ],
)
def test_json_has_the_same_facts(capsys, name, inputs):
    facts = listed(capsys, f"redrop_my_module:{name}", input_=inputs)
    assert facts["total"] == {"sites": 3, "elements": 96}
    assert [site["name"] for site in facts["sites"]] == list(TABLE)
    assert facts["sites"][0] == {
        "name": "mlp.2", "kind": "feed_forward_hidden", "p": 0.25, "shape": [3, 16],
        "elements": 48, "calls": 1,
    }  # fmt: skip
    assert facts["outside"] == {}


def test_a_hugging_face_type_works_by_name(capsys, monkeypatch):
    pytest.importorskip("transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    small = "hf:gpt2:n_layer=1,n_embd=16,n_head=2,vocab_size=9,bos_token_id=0,eos_token_id=0"
    facts = listed(capsys, small)
    called = {site["name"]: site["kind"] for site in facts["sites"] if site["calls"]}
    assert called["transformer.h.0.attn:scaled_dot_product_attention"] == "attention_weights"
    assert len(called) == 4


@pytest.mark.slow
def test_the_directory_of_a_run_works(capsys, folder):
    (folder / "text.txt").write_text("the cat sat on the mat. " * 200)
    made = redrop(
        *("train", "text.txt", "--steps=1", "--out=run", "--dropout=all-0.2", *TINY), cwd=folder
    )
    assert made.returncode == 0, made.stderr
    facts = listed(capsys, "run")
    assert {site["p"] for site in facts["sites"]} >= {0.2}
    weights = [site for site in facts["sites"] if site["kind"] == "attention_weights"]
    assert [site["shape"] for site in weights] == [[2, 2, 16, 16]]


@pytest.mark.parametrize(
    ("model", "inputs", "message"),
    [
        ("redrop_absent:build", (), "There is no module `redrop_absent`"),
        ("redrop_my_module:absent", (), "`redrop_my_module` has no `absent`."),
        ("redrop_my_module:fails", (), "it raised RuntimeError: on purpose."),
        ("redrop_my_module:needs", (), "it raised TypeError: needs"),
        ("redrop_my_module:wrong", (), "must give a torch.nn.Module, or the pair"),
        ("redrop_my_module:build", (), "say what it reads, such as --input 2,3,32,32"),
        ("redrop_my_module:build", ("3,9",), "Net must run on the example"),
        ("redrop_my_module:plain", ("3,8",), "Linear has no dropout site"),
        ("redrop_my_module:recurrent", ("3,8",), "`LSTM` stays outside: the dropout between"),
        ("hf:gtp2", (), "`gtp2` is neither a folder"),
        ("no-folder", (), "got 'no-folder', which is no directory"),
        (".", (), "holds no checkpoint"),
    ],
)
def test_mistakes_are_one_line(model, inputs, message):
    if model.startswith("hf:"):
        pytest.importorskip("transformers")
    with pytest.raises(UsageError) as caught:
        sites(model, input_=inputs)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_prints_json(folder):
    result = redrop("sites", "redrop_my_module:build", "--input", "x=3,8", "--json", cwd=folder)
    assert json.loads(result.stdout)["total"] == {"sites": 3, "elements": 96}, result.stderr


def test_a_mistake_ends_the_command_with_exit_code_2(folder):
    result = redrop("sites", "redrop_my_module:fails", cwd=folder)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "RuntimeError: on purpose" in result.stderr


def test_inputs_are_zeros_of_numbers_and_ones_of_floats():
    floats, ids, mask = parse_inputs(("2,3", "2:long", "1,2:bool"))
    assert torch.equal(floats, torch.ones(2, 3))
    assert torch.equal(ids, torch.zeros(2, dtype=torch.int64))
    assert torch.equal(mask, torch.zeros(1, 2, dtype=torch.bool))


@pytest.mark.parametrize("texts", [("2,x",), ("",), ("2:int",), ("-1",), ("2", "x=2")])
def test_inputs_written_otherwise_are_refused(texts):
    with pytest.raises(UsageError, match="`--input` takes sizes|either all given by keyword"):
        parse_inputs(texts)
