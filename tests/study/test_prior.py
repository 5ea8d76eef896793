import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from redrop.study.baseline_regime import Regime
from redrop.study.prior import LABEL, Reading, expect
from redrop.study.regime import Counted, RegimeCard

cards = st.builds(
    RegimeCard,
    unique=st.integers(1, 10**13),
    epochs=st.floats(0.01, 1e4),
    unit=st.sampled_from(["tokens", "samples"]),
    parameters=st.none() | st.integers(1, 10**12),
    batch=st.none() | st.integers(1, 10**7),
    learning_rate=st.none() | st.floats(1e-6, 1.0),
    weight_decay=st.none() | st.floats(0, 10),
    is_fine_tuning=st.booleans(),
)


@given(cards)
def test_every_regime_has_an_expectation_with_sources(card: RegimeCard) -> None:
    prior = expect(card)
    assert prior.rates[0] == 0.0
    assert prior.evidence
    for each in prior.evidence:
        assert isinstance(each.reading, Reading)
        is_own = each.reading in (Reading.PILOT, Reading.DIGITS)
        assert is_own == (not each.url)
        assert each.url == "" or re.fullmatch(r"https://[\w./-]+", each.url)
    told = prior.to_dict()
    assert told["label"] == LABEL
    assert "prior" in LABEL.lower()
    assert json.loads(json.dumps(told, allow_nan=False))["headline"] == prior.headline


@given(st.floats(0.1, 1e3), st.floats(1, 10), st.booleans())
def test_more_epochs_never_make_dropout_less_expected(
    epochs: float, times: float, is_fine_tuning: bool
) -> None:
    fewer = expect(RegimeCard(unique=10**7, epochs=epochs, is_fine_tuning=is_fine_tuning))
    more = expect(RegimeCard(unique=10**7, epochs=epochs * times, is_fine_tuning=is_fine_tuning))
    assert set(fewer.rates) <= set(more.rates)
    assert set(fewer.weight_decays) <= set(more.weight_decays)


@pytest.mark.parametrize(
    ("epochs", "words", "source"),
    [
        (1.0, "expect dropout to cost", "Drop Dropout on Single-Epoch"),
        (3.0, "expect dropout to cost", "Scaling Data-Constrained"),
        (10.0, "the sign is open", "To Repeat or Not To Repeat"),
        (20.0, "expect the baseline to overfit", "NanoGPT Slowrun"),
        (256.0, "expect the baseline to overfit", "Pre-training under infinite compute"),
    ],
)
def test_the_rule_of_the_epochs(epochs: float, words: str, source: str) -> None:
    prior = expect(RegimeCard(unique=10**7, epochs=epochs))
    assert words in prior.headline
    assert any(source in each.source for each in prior.evidence)


@pytest.mark.parametrize("fine", [True, False])
def test_images_and_tables_are_not_promised_what_their_evidence_leaves_open(fine: bool) -> None:
    card = RegimeCard(unique=500, epochs=100, unit="samples", is_fine_tuning=fine)
    headline = expect(card).headline
    assert "expect the baseline to overfit" in headline
    assert "Whether dropout pays there is open" in headline
    assert "dropout to pay" not in headline
    text = RegimeCard(unique=500, epochs=100, is_fine_tuning=fine)
    assert "dropout to pay" in expect(text).headline


@pytest.mark.parametrize(
    ("unit", "unique", "rates"),
    [
        ("samples", 3000, (0.0, 0.1, 0.2, 0.3)),
        ("samples", 10_000, (0.0, 0.1)),
        ("tokens", 3000, (0.0, 0.1)),
    ],
)
def test_fine_tuning_on_little_data_is_the_case_of_many_epochs(
    unit: Counted, unique: int, rates: tuple[float, ...]
) -> None:
    card = RegimeCard(unique=unique, epochs=3, unit=unit, is_fine_tuning=True)
    assert expect(card).rates == rates


@pytest.mark.parametrize(
    ("state", "words"),
    [("still falling", "limited by training"), ("passed its minimum", "it overfits")],
)
def test_a_measurement_outweighs_the_prior(state: str, words: str) -> None:
    card = RegimeCard(unique=10**7, epochs=20, measured=Regime(state=state))
    assert words in expect(card).headline
    assert "outweighs any prior" in expect(card).headline


def test_cautions_name_what_the_numbers_show() -> None:
    card = RegimeCard(
        unique=10**7,
        epochs=20,
        parameters=124_000_000,
        batch=24 * 1024,
        learning_rate=6e-4,
        weight_decay=0.1,
    )
    told = " ".join(expect(card).cautions)
    assert "more parameters than unique tokens" in told
    assert "longer than the run" in told
    assert "at second hand" in told
