import pytest

from redrop.errors import UsageError
from redrop.report.gather import gather_studies
from tests.study import synthetic


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A study, a study with a budget and a map, in one folder of studies."""
    root = tmp_path_factory.mktemp("studies")
    plan = synthetic.make_plan(seeds=(0,), steps=50)
    for place in ("plain", "budget/1-baseline", "budget/4-confirm", "map/amount-000004000"):
        synthetic.write_study(root / place, plan)
    (root / "budget" / "protocol.json").write_text("{}")
    return root


def names(studies, root):
    return [study.folder.relative_to(root).as_posix() for study in studies]


def test_a_folder_stands_for_all_the_studies_in_it(root):
    everything = ["budget/1-baseline", "budget/4-confirm", "map/amount-000004000", "plain"]
    assert names(gather_studies([root]), root) == everything
    assert names(gather_studies([root / "plain", root / "map"]), root) == [
        "plain",
        "map/amount-000004000",
    ]


def test_of_a_study_with_a_budget_only_the_confirmation_judges(root):
    found = gather_studies([root / "plain", root / "budget"], judged=True)
    assert names(found, root) == ["plain", "budget/4-confirm"]
    assert names(gather_studies([root / "budget"]), root)[0] == "budget/1-baseline"


def test_a_folder_without_studies_is_named(root, tmp_path):
    with pytest.raises(UsageError, match=f"`{tmp_path}` does not"):
        gather_studies([root, tmp_path])


def test_a_study_with_a_budget_that_has_not_come_to_its_confirmation_is_named(tmp_path):
    synthetic.write_study(tmp_path / "1-baseline", synthetic.make_plan(seeds=(0,), steps=50))
    (tmp_path / "protocol.json").write_text("{}")
    assert len(gather_studies([tmp_path])) == 1
    with pytest.raises(UsageError, match=f"`{tmp_path}` has not come to it"):
        gather_studies([tmp_path], judged=True)
