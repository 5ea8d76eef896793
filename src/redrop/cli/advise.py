"""`redrop advise`."""

import json
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table
from rich.text import Text

from redrop.cli.options import Json
from redrop.errors import UsageError
from redrop.study.amounts import parse_amount
from redrop.study.prior import LABEL, Evidence, Prior, expect
from redrop.study.regime import Counted, RegimeCard


def advise(
    *,
    tokens: str | None = None,
    samples: str | None = None,
    epochs: float,
    params: str | None = None,
    batch: str | None = None,
    learning_rate: float | None = None,
    weight_decay: float | None = None,
    fine_tune: Annotated[bool, Parameter(negative=())] = False,
    json_: Json = False,
) -> None:
    """Print the regime card of a training run and what published work expects of it.

    Nothing is trained: what is printed is a prior. `redrop study` measures.

    Args:
        tokens: Different training tokens, as 10M or 3e8.
        samples: Different training samples, where the data are no text.
        epochs: How often the run reads them.
        params: Parameters of the network, as 124M.
        batch: Tokens or samples in one step, as 24x1024 or 32k.
        learning_rate: At its peak; with --batch and --weight-decay it gives the decay's timescale.
        weight_decay: Of AdamW.
        fine_tune: Training starts from trained weights.
        json_: Print one JSON document on standard output.
    """
    unique, unit = _counted(tokens, samples)
    card = RegimeCard(
        unique=unique,
        unit=unit,
        epochs=epochs,
        parameters=None if params is None else parse_amount(params, "params"),
        batch=None if batch is None else _batch(batch),
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        is_fine_tuning=fine_tune,
    )
    prior = expect(card)
    if json_:
        print(json.dumps({"regime": card.to_dict(), "prior": prior.to_dict()}, indent=2))
        return
    print_advice(card, prior, Console(highlight=False))


def print_advice(card: RegimeCard, prior: Prior, console: Console) -> None:
    """Print the card, what to expect, and where that is from."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for row in card.rows():
        table.add_row(*row)
    console.print(table)
    console.print(f"\n[bold]Expected.[/bold] {prior.headline}")
    console.print(LABEL)
    decays = ", ".join(f"{value:g}" for value in prior.weight_decays)
    console.print(f"Weight decay worth a test: {decays}.")
    console.print("\n[bold]Evidence[/bold]")
    console.print(_listed([_say_evidence(each) for each in prior.evidence]))
    console.print("\n[bold]What this does not know[/bold]")
    console.print(_listed([Text(caution) for caution in prior.cautions]))
    console.print("\nTo find out: redrop study DATA --budget 10m", markup=False)


def _listed(items: list[Text]) -> Table:
    table = Table.grid(padding=(0, 1))
    for item in items:
        table.add_row("-", item)
    return table


def _say_evidence(evidence: Evidence) -> Text:
    origin = f"{evidence.source}; " if evidence.url else ""
    link = f" {evidence.url}" if evidence.url else ""
    return Text.assemble(evidence.fact, (f" ({origin}{evidence.reading.value}){link}", "dim"))


def _counted(tokens: str | None, samples: str | None) -> tuple[int, Counted]:
    if tokens is not None and samples is None:
        return parse_amount(tokens, "tokens"), "tokens"
    if samples is not None and tokens is None:
        return parse_amount(samples, "samples"), "samples"
    got = "both" if tokens is not None else "neither"
    raise UsageError(f"Data are counted in --tokens or in --samples; got {got}. Pass one of them.")


def _batch(text: str) -> int:
    """Return the product of 24x1024, or the number itself.

    >>> _batch("24x1024"), _batch("0.5M")
    (24576, 500000)
    """
    sequences, by, length = text.lower().partition("x")
    each = parse_amount(length, "batch") if by else 1
    return parse_amount(sequences, "batch") * each
