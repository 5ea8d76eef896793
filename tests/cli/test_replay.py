import json

import numpy as np
import pytest

from redrop.mask import mask_key
from redrop.mask import replay as replay_mask
from tests.cli.command import redrop

SITE = "blocks.0.attention.weights"
ARGUMENTS = f"replay --seed 3 --step 7 --site {SITE} --p 0.25 --shape 2,3,8".split()


def test_it_shows_the_mask_of_the_reference():
    result = redrop(*ARGUMENTS)
    kept = replay_mask(seed=3, step=7, site=SITE, p=0.25, shape=(2, 3, 8))
    drawn = "".join(line for line in result.stdout.splitlines() if set(line) <= set("█·"))
    assert drawn == "".join("█" if bit else "·" for bit in kept.ravel())
    assert f"{mask_key(3, 7, SITE):016x}" in result.stdout


def test_json_holds_all_of_it():
    facts = json.loads(redrop(*ARGUMENTS, "--json", "--pass", "1").stdout)
    kept = replay_mask(seed=3, step=7, site=SITE, p=0.25, shape=(2, 3, 8), pass_=1)
    assert np.array_equal(np.array(facts["keep"], dtype=bool), kept)
    assert facts["dropped"] == int((~kept).sum())


def test_out_writes_a_numpy_file(tmp_path):
    out = tmp_path / "mask.npy"
    assert redrop(*ARGUMENTS, "--out", str(out)).returncode == 0
    kept = replay_mask(seed=3, step=7, site=SITE, p=0.25, shape=(2, 3, 8))
    assert np.array_equal(np.load(out), kept)


@pytest.mark.parametrize("shape", ["0", "2,0,3"])
def test_an_empty_mask_has_nothing_to_draw(shape):
    result = redrop(*ARGUMENTS[:-1], shape)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[1].startswith("0 of 0 dropped")
    assert len(result.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("changed", "line"),
    [
        (["--p", "1.5"], "`p` must lie in [0, 1]; got 1.5"),
        (["--p", "nan"], "`p` must lie in [0, 1]; got nan"),
        (["--shape", "2,x"], "`shape` is a list of sizes such as 2,8,64,64; got '2,x'"),
        (["--shape", "100000,100000"], "at most 33,554,432 elements; got 100000,100000"),
        (["--shape", "9" * 5000], "`shape` is a list of sizes"),
        (["--step", "-1"], "`step` must lie in [0, 2^32); got -1"),
        (["--out", "/nowhere/mask.npy"], "`/nowhere/mask.npy` cannot be written"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(changed, line):
    at = ARGUMENTS.index(changed[0]) if changed[0] in ARGUMENTS else len(ARGUMENTS)
    result = redrop(*ARGUMENTS[:at], *changed, *ARGUMENTS[at + 2 :])
    assert result.returncode == 2
    assert line in result.stderr
    assert len(result.stderr.splitlines()) == 1
