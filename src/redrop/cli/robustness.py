"""`redrop robustness`."""

import json
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from redrop.cli.options import Json, Words
from redrop.errors import UsageError
from redrop.study.wording import signed

if TYPE_CHECKING:
    from redrop.study.robustness import Robustness

RATES = ("0.1", "0.3", "0.5")


def robustness(
    folder: Path,
    *,
    site: str = "attention_weights",
    rates: Words = RATES,
    draws: int = 4,
    json_: Json = False,
) -> None:
    """Measure what it costs the trained networks of a study to lose parts: did dropout help there?

    Nothing is trained. Every finished network is evaluated on the validation data with dropout left
    on at one kind of site, under the same masks in all arms of a seed. One that leans on single
    connections loses much; one that learned to do without them loses little.

    Args:
        folder: Of a study with its checkpoints; of a study with a budget its confirmation is taken.
        site: Where is dropped: attention_weights severs single connections; feed_forward_hidden,
            all, or the name of a site.
        rates: Shares that are dropped, one after the other.
        draws: Masks at each rate; the loss is the mean over them.
        json_: Print one JSON document on standard output.
    """
    from redrop.report.gather import gather_studies

    studies = gather_studies([folder], judged=True)
    if len(studies) > 1:
        raise UsageError(
            f"Networks are compared within one study; `{folder}` holds {len(studies)}. Name one."
        )
    numbers = [_number(rate) for rate in rates]
    from redrop.study.robustness import measure_robustness

    shown = Console(stderr=True)
    with Progress(console=shown, transient=True, disable=not shown.is_terminal) as progress:
        planned = len(studies[0].plan.arms) * len(studies[0].plan.seeds)
        bar = progress.add_task("Evaluating trained networks", total=planned)
        found = measure_robustness(
            studies[0],
            site=site,
            rates=numbers,
            draws=draws,
            observe=lambda _: progress.advance(bar),
        )
    if json_:
        print(json.dumps(found.to_dict(), allow_nan=False))
        return
    console = Console(highlight=False)
    console.print(_table(found))
    for sentence in found.sentences:
        console.print(sentence, markup=False)
    console.print(
        "A cost is the loss above that without dropout, mean over the seeds; below it the "
        "difference to the baseline, seed by seed. The "
        f"intervals hold together at {100 * studies[0].plan.confidence:g} %.",
        markup=False,
    )
    if found.missing:
        console.print(
            f"Not measured, for want of a network with a finite loss: {', '.join(found.missing)}"
        )


def _table(found: "Robustness") -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("Arm")
    table.add_column("Seeds", justify="right")
    table.add_column(f"Loss\n{found.unit}", justify="right")
    for p in found.rates:
        table.add_column(f"{p:g} dropped\ncosts", justify="right", no_wrap=True)
    for arm in dict.fromkeys(cost.arm for cost in found.costs):
        costs = [cost for cost in found.costs if cost.arm == arm]
        without = [costs[0].losses[seed] - cost for seed, cost in costs[0].costs.items()]
        table.add_row(
            costs[0].label,
            str(len(without)),
            signed(fmean(without)),
            *(f"{cost.said}\n{cost.compared}".strip() for cost in costs),
        )
    return table


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UsageError(f"`rates` are numbers in (0, 1); got {text!r}. Pass 0.1 0.3.") from error
