"""`redrop robustness`, as a user meets it."""

import json

import pytest

STUDY = ["study", "markov:4000", "--steps=12", "--batch-size=4", "--width=16", "--layers=1"]
STUDY += ["--heads=2", "--context=16", "--precision=float32", "--out=s", "--arms", "none"]


@pytest.fixture
def study(redrop):
    code, _, error = redrop(*STUDY, "all-0.3", "--seeds=2")
    assert code == 0, error
    return "s"


def test_it_prints_a_table_and_what_it_comes_to(redrop, study):
    code, out, error = redrop("robustness", study, "--rates", "0.1", "0.5", "--draws=1")
    assert (code, error) == (0, "")
    for words in ("Seeds", "0.1 dropped", "0.5 dropped", "no dropout", "dropout 0.3 on all sites"):
        assert words in out
    assert "Dropping attention_weights at p = 0.5 costs no dropout" in " ".join(out.split())
    assert "hold together at 95 %" in " ".join(out.split())
    code, out, error = redrop("robustness", study, "--site=embedding", "--json")
    found = json.loads(out)
    assert (found["kind"], found["site"], found["rates"]) == (
        "robustness",
        "embedding",
        [0.1, 0.3, 0.5],
    )
    assert len(found["costs"]) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere"),
        (["s", "--rates", "1.5"], "got 1.5. Pass 0.1 0.3 0.5."),
        (["s", "--rates", "some"], "got 'some'"),
        (["s", "--site=drop_me"], "drop_me"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(redrop, study, arguments, said):
    code, out, error = redrop("robustness", *arguments)
    assert (code, out) == (2, "")
    assert said in error
    assert len(error.splitlines()) == 1
