import json
import math

import pytest
import torch

from redrop.train.early_stopping import EarlyStopping


def feed(stopping, losses):
    """Feed losses until it wants to stop; return the number fed."""
    for number, loss in enumerate(losses, start=1):
        stopping.update(10 * number, loss, {"w": torch.tensor([float(number)])})
        if stopping.should_stop:
            return number
    return None


@pytest.mark.parametrize(
    ("patience", "losses", "stops_after"),
    [
        (2, [3, 2, 1, 1.5, 1.2, 0.5], 5),
        (2, [3, 3, 2, 2, 1, 1, 0], None),
        (1, [3, 3], 2),
        (3, [1, 2, 2], None),
        (0, [1, 2, 3, 4, 5, 6, 7, 8], None),
        (2, [1, math.nan, math.nan], 3),
        (2, [math.nan, math.nan], 2),
    ],
)
def test_it_stops_after_as_many_evaluations_in_vain_as_patience_allows(
    patience, losses, stops_after
):
    assert feed(EarlyStopping(patience, 0.0), losses) == stops_after


def test_the_best_weights_are_kept_and_not_followed():
    stopping = EarlyStopping(0, 0.0)
    weight = torch.tensor([7.0])
    stopping.update(10, 2.0, {"w": weight})
    weight.fill_(8.0)  # the optimizer goes on in place
    stopping.update(20, 2.5, {"w": weight})
    assert (stopping.best_step, stopping.best_loss) == (10, 2.0)
    assert stopping.best_weights["w"].tolist() == [7.0]
    stopping.update(30, 1.9, {"w": weight})
    assert (stopping.best_step, stopping.best_weights["w"].tolist()) == (30, [8.0])


def test_a_gain_below_min_delta_is_kept_but_tries_patience():
    stopping = EarlyStopping(patience=2, min_delta=0.1)
    assert feed(stopping, [1.0, 0.95, 0.92]) == 3
    assert (stopping.best_loss, stopping.best_step) == (0.92, 30)


def test_small_gains_add_up():
    # Each is too small by itself; the third is 0.12 below the last that counted.
    assert (
        feed(EarlyStopping(patience=3, min_delta=0.1), [1.0, 0.96, 0.92, 0.88, 0.86, 0.85]) is None
    )


def test_nan_is_never_the_best():
    stopping = EarlyStopping(0, 0.0)
    feed(stopping, [math.nan, 1.0, math.nan])
    assert (stopping.best_step, stopping.best_loss) == (20, 1.0)


@pytest.mark.parametrize("cut", range(7))
def test_it_goes_on_from_json_as_if_nothing_had_happened(cut):
    losses = [math.nan, 3.0, 2.95, 2.0, 2.5, 2.6, 1.0]
    straight, before, after = (EarlyStopping(3, 0.1) for _ in range(3))
    stops = feed(straight, losses)
    assert feed(before, losses[:cut]) is None or cut > stops
    after.load_json(json.loads(json.dumps(before.to_json())), before.best_weights)
    assert vars(after).keys() == vars(before).keys()
    for name, value in vars(before).items():
        assert vars(after)[name] == value, name
