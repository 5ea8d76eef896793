import pytest
import torch

from redrop.train.tally import Tally


def tally(*pairs):
    result = Tally()
    for loss, norm in pairs:
        is_clipped = torch.tensor(norm > 1.0)
        result.add(torch.tensor(loss, requires_grad=True) * 1, torch.tensor(norm), is_clipped)
    return result


def test_means_and_shares_are_over_all_steps():
    notes = tally((1.0, 0.5), (2.0, 1.0), (6.0, 3.0))
    assert len(notes) == 3
    assert notes.mean_loss == 3.0
    assert notes.mean_norm == 1.5
    assert notes.clipped_share == pytest.approx(1 / 3)


def test_no_graph_is_kept_alive():
    assert not tally((1.0, 1.0)).to_tensors()["losses"].requires_grad


@pytest.mark.parametrize(
    ("losses", "finite"),
    [([1, 2, 3], 3), ([1, float("nan"), 3], 1), ([float("inf")], 0), ([], 0)],
)
def test_the_first_loss_that_is_not_finite_is_found(losses, finite):
    assert tally(*[(float(loss), 1.0) for loss in losses]).finite_steps == finite


@pytest.mark.parametrize("count", [0, 1, 3])
def test_it_goes_on_from_tensors(count):
    before, after = tally(*[(0.1 * n, 0.3 * n) for n in range(count)]), Tally()
    after.load_tensors(before.to_tensors())
    for notes in (before, after):
        notes.add(torch.tensor(0.7), torch.tensor(0.9), torch.tensor(True))
    assert len(after) == count + 1
    assert (after.mean_loss, after.mean_norm) == (before.mean_loss, before.mean_norm)
    assert after.clipped_share == before.clipped_share == pytest.approx(1 / (count + 1))


def test_a_cleared_tally_is_empty():
    notes = tally((1.0, 1.0))
    notes.clear()
    assert len(notes) == 0
