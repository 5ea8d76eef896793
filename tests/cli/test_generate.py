"""`redrop generate`: what it refuses; that it writes, test_study.py sees."""

import pytest

from redrop.cli.app import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--prompt="], "`prompt` must hold at least one character to go on from; got ''."),
        ([], "A model is read from the folder of a run or a study; got"),
    ],
    ids=["no-prompt", "no-study"],
)
def test_a_mistake_is_one_line(tmp_path, capsys, arguments, said):
    with pytest.raises(SystemExit, match="2"):
        main(["generate", str(tmp_path), *arguments])
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
