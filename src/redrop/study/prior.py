"""What published work leads one to expect of a regime: a prior, never a finding.

Each piece of evidence says where it stands and how it was read; what was only remembered is left
out. The thresholds of 4 and 16 epochs are a rule of thumb between the places where evidence lies.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from redrop.study.regime import RegimeCard

FEW_EPOCHS = 4.0
MANY_EPOCHS = 16.0
FEW_SAMPLES = 10_000

LABEL = "A prior from published work. Nothing here was measured on your data."


class Reading(StrEnum):
    """How a piece of evidence is known to us."""

    SOURCE = "read in the source"
    ABSTRACT = "only its abstract was read"
    PILOT = "our own pilot, unpublished: 107 k parameters, generated language, 5 seeds, 95 %"
    DIGITS = "our own pilot, unpublished: a small MLP on 100 images of digits, 6 seeds"


@dataclass(frozen=True, slots=True)
class Evidence:
    """One fact, where it stands, and how it was read."""

    fact: str
    source: str
    reading: Reading
    url: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prior:
    """What to expect and what to try.

    Args:
        headline: The expectation, in one or two sentences.
        rates: Values of p worth a run.
        weight_decays: Values worth a run.
        evidence: The facts behind it.
        cautions: What the expectation does not know.
    """

    headline: str
    rates: tuple[float, ...]
    weight_decays: tuple[float, ...]
    evidence: tuple[Evidence, ...]
    cautions: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the prior for machines, its label with it."""
        return {"label": LABEL, **asdict(self)}


def expect(card: RegimeCard) -> Prior:
    """Return what published work expects of a regime.

    >>> expect(RegimeCard(unique=10**9, epochs=1)).rates
    (0.0,)
    >>> expect(RegimeCard(unique=10**7, epochs=20)).rates
    (0.0, 0.1, 0.2, 0.3)
    """
    is_data_limited = card.epochs > MANY_EPOCHS or _is_small_tuning(card)
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    if is_data_limited:
        rates, decays = (0.0, 0.1, 0.2, 0.3), (0.1, 0.3, 1.0, 3.0)
    elif card.epochs > FEW_EPOCHS or card.is_fine_tuning:
        rates, decays = (0.0, 0.1), (0.1, 0.3, 1.0)
    else:
        rates, decays = (0.0,), (0.1,)
    return Prior(
        headline=_headline(card, rates),
        rates=rates,
        weight_decays=decays,
        evidence=tuple(evidence for applies, evidence in _EVIDENCE if applies(card)),
        cautions=tuple(_cautions(card)),
    )


def _headline(card: RegimeCard, rates: tuple[float, ...]) -> str:
    measured = card.measured.state if card.measured is not None else None
    epochs = f"{card.epochs:.3g} epoch{'' if card.epochs == 1 else 's'}"
    if measured == "still falling":
        return (
            "The baseline was measured to be still improving at its end, which outweighs any "
            "prior: it is limited by training, and dropout is expected to cost, not to gain."
        )
    if measured == "passed its minimum":
        return (
            "The baseline was measured to pass its own minimum, which outweighs any prior: it "
            f"overfits, so dropout is worth testing; try {_say(rates or (0.0, 0.1))}."
        )
    if len(rates) == 1:
        return (
            f"At {epochs}, expect dropout to cost a little: start without it. It is worth a test "
            "only if the validation loss of a run without dropout turns up."
        )
    if len(rates) == 2:
        return f"At {epochs} the sign is open: expect little either way; test {_say(rates)}."
    few = "little data for fine-tuning" if card.epochs <= MANY_EPOCHS else epochs
    if card.unit == "samples":  # what was published of images went both ways
        return (
            f"With {few}, expect the baseline to overfit. Whether dropout pays there is open, with "
            f"more weight decay and, for images, mixup as its rivals; test {_say(rates)}."
        )
    return (
        f"With {few}, expect the baseline to overfit and dropout to pay, with more weight decay "
        f"as its rival; test {_say(rates)}."
    )


def _say(rates: tuple[float, ...]) -> str:
    return "p = " + ", ".join(f"{p:g}" for p in rates)


def _cautions(card: RegimeCard) -> list[str]:
    said = [
        "Always include a run without dropout at its best checkpoint: it is the honest baseline.",
        "Published settings show what was run, seldom what was needed.",
    ]
    if card.unit == "samples":
        said.append(
            "The limits of 4 and 16 epochs come from language models; on images and tables the "
            "epochs alone say less. The turning point of a baseline is the better test."
        )
    if card.effective is not None and card.epochs > 1:
        said.append(
            "The worth of repeats is a fit to language models that are reported, at second hand, "
            "to have been trained with dropout 0.1 and weight decay 0.1; it need not hold without."
        )
    ratio = card.parameters_per_unique
    if card.unit == "tokens" and ratio is not None and ratio > 1:
        said.append(
            "There are more parameters than unique tokens: larger networks turn sooner "
            f"(Xue et al. 2023, {Reading.ABSTRACT.value}), so the same epochs count for more."
        )
    if card.decay_epochs is not None and card.decay_epochs > card.epochs:
        said.append(
            "The timescale of weight decay is longer than the run: as it stands, weight decay "
            "hardly acts, and a study without a larger one tests dropout against no rival."
        )
    return said


def _is_small_tuning(card: RegimeCard) -> bool:
    return card.is_fine_tuning and card.unit == "samples" and card.unique < FEW_SAMPLES


def _text(least: float, most: float) -> Callable[[RegimeCard], bool]:
    return lambda card: card.unit == "tokens" and least < card.epochs <= most


def _many(card: RegimeCard) -> bool:
    return card.unit == "tokens" and card.epochs > MANY_EPOCHS


def _several(card: RegimeCard) -> bool:
    return card.unit == "tokens" and card.epochs > FEW_EPOCHS


def _images(card: RegimeCard) -> bool:
    return card.unit == "samples"


def _tuning(card: RegimeCard) -> bool:
    return card.is_fine_tuning


def _any(card: RegimeCard) -> bool:
    return card.unit == "tokens" or card.decay_epochs is not None


_SLOWRUN = "https://github.com/qlabs-eng/slowrun"
_T5 = "https://github.com/google-research/text-to-text-transfer-transformer"

_EVIDENCE: tuple[tuple[Callable[[RegimeCard], bool], Evidence], ...] = (
    (
        _text(0, 1.5),
        Evidence(
            "In one epoch, BERT and Pythia 160M and 1.4B were best without dropout, in language "
            "modelling and downstream; dropout in the first steps alone hurt, too.",
            "Liu, Bauer, Manning 2025: Drop Dropout on Single-Epoch Language Model Pretraining",
            Reading.ABSTRACT,
            "https://arxiv.org/abs/2505.24788",
        ),
    ),
    (
        _text(0, 1.5),
        Evidence(
            "In one epoch, dropout 0.1 raised the loss by 0.0037 nats [0.0030, 0.0044].",
            "pilot",
            Reading.PILOT,
        ),
    ),
    (
        _text(1.5, 5),
        Evidence(
            "Up to 4 epochs, repeated tokens are worth about as much as fresh ones.",
            "Muennighoff et al. 2023: Scaling Data-Constrained Language Models",
            Reading.ABSTRACT,
            "https://arxiv.org/abs/2305.16264",
        ),
    ),
    (
        _text(1.5, 5),
        Evidence(
            "Galactica, trained for 4.25 epochs, has dropout 0.1 in its published settings.",
            "configurations of Galactica 125M, 1.3B and 30B",
            Reading.SOURCE,
            "https://huggingface.co/facebook/galactica-125m",
        ),
    ),
    (
        _text(FEW_EPOCHS, 32),
        Evidence(
            "At 16 epochs, dropout 0.1 changed the loss by +0.001 nats [−0.001, +0.003].",
            "pilot",
            Reading.PILOT,
        ),
    ),
    (
        _several,
        Evidence(
            "The records of 2026 on 100 M tokens and 11 to 22 epochs use dropout 0.1 after the "
            "residual projections and DropPath 0.05, on top of weight decay 0.8 to 1.6.",
            "NanoGPT Slowrun, training scripts",
            Reading.SOURCE,
            _SLOWRUN,
        ),
    ),
    (
        _several,
        Evidence(
            "Of the usual regularizers only dropout helped much against the loss of quality by "
            "repeating data; large models need it tuned.",
            "Xue et al. 2023: To Repeat or Not To Repeat",
            Reading.ABSTRACT,
            "https://arxiv.org/abs/2305.13230",
        ),
    ),
    (
        _many,
        Evidence(
            "At 64 epochs dropout 0.1 lowered the loss by 0.025 nats [0.023, 0.028], at 256 by "
            "0.118 [0.093, 0.144], both against the best checkpoint without dropout.",
            "pilot",
            Reading.PILOT,
        ),
    ),
    (
        _several,
        Evidence(
            "With 200 M tokens and many epochs the best weight decay was 30 times the usual 0.1.",
            "Kim et al. 2025: Pre-training under infinite compute",
            Reading.SOURCE,
            "https://arxiv.org/abs/2509.14786",
        ),
    ),
    (
        _any,
        Evidence(
            "Weight decay is said never to act as an explicit regularizer but to change how "
            "training moves: disputed for many epochs on little data.",
            "D'Angelo et al. 2024: Why Do We Need Weight Decay in Modern Deep Learning?",
            Reading.ABSTRACT,
            "https://arxiv.org/abs/2310.04415",
        ),
    ),
    (
        lambda card: card.decay_epochs is not None,
        Evidence(
            "The best timescale of weight decay, in epochs, stays about the same over sizes of "
            "model and data.",
            "Wang, Aitchison 2024: How to set AdamW's weight decay",
            Reading.ABSTRACT,
            "https://arxiv.org/abs/2405.13698",
        ),
    ),
    (
        _tuning,
        Evidence(
            "T5 v1.1 was pre-trained without dropout; its authors say to switch it on again for "
            "fine-tuning.",
            "notes on the released checkpoints of T5",
            Reading.SOURCE,
            _T5,
        ),
    ),
    (
        _tuning,
        Evidence(
            "Dropout 0.05 in LoRA helped at 7 B and 13 B parameters, not at 33 B and 65 B.",
            "Dettmers et al. 2023: QLoRA, appendix",
            Reading.SOURCE,
            "https://arxiv.org/abs/2305.14314",
        ),
    ),
    (
        _images,
        Evidence(
            "On ImageNet a small ViT lost by ordinary dropout (73.9 to 67.9 % top-1) and gained "
            "by dropout in the first epochs alone (74.3 %): it was underfitting.",
            "Liu et al. 2023: Dropout Reduces Underfitting, published results",
            Reading.SOURCE,
            "https://github.com/facebookresearch/dropout",
        ),
    ),
    (
        _images,
        Evidence(
            "On ImageNet, a ResNet-50 went from 23.68 % top-1 error to 22.58 with mixup and 21.40 "
            "with CutMix.",
            "Yun et al. 2019: CutMix, published results",
            Reading.SOURCE,
            "https://github.com/clovaai/CutMix-PyTorch",
        ),
    ),
    (
        lambda card: card.unit == "samples" and card.unique <= 1000,
        Evidence(
            "On very little data the gain can be small: dropout 0.5 changed the error by −0.61 "
            "± 0.63 points (standard deviation of the paired difference), mixup by +1.88 ± 1.41.",
            "pilot",
            Reading.DIGITS,
        ),
    ),
)
