"""One harness for all benchmarks: rivals take turns in one process, a row of data per measurement.

Machines are noisy and drift; so rivals run A B C A B C …, the ratio is taken round by round, and
its median is what counts. Rows are appended to bench/data/<subject>.jsonl.
"""

import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import torch

import redrop

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One rival in one measurement; times in seconds per call."""

    subject: str
    case: str
    rival: str
    median: float
    quantile_20: float
    quantile_80: float
    ratio: float
    """Median over the rounds of (time of this rival / time of the baseline)."""
    baseline: str
    rounds: int
    threads: int
    redrop: str
    torch: str
    machine: str
    when: str


def compare(
    subject: str,
    case: str,
    rivals: Mapping[str, Callable[[], object]],
    *,
    threads: int = 2,
    seconds: float = 4.0,
    least_rounds: int = 9,
) -> dict[str, Row]:
    """Time the rivals in turns; the first one is the baseline of the ratios.

    Args:
        subject: File of bench/data that gets the rows.
        case: What is measured: shape, dtype, direction.
        rivals: Name and call of each.
        threads: For torch and for redrop's kernels.
        seconds: To spend on the whole comparison, about.
        least_rounds: Even if that takes longer.
    """
    torch.set_num_threads(threads)
    calls = {name: _calls_per_round(call) for name, call in rivals.items()}
    times: dict[str, list[float]] = {name: [] for name in rivals}
    began = time.perf_counter()
    while len(next(iter(times.values()))) < least_rounds or time.perf_counter() - began < seconds:
        for name, call in rivals.items():
            times[name].append(_time(call, calls[name]))
    baseline = next(iter(rivals))
    rows = {
        name: _row(subject, case, name, taken, baseline, times[baseline], threads)
        for name, taken in times.items()
    }
    _append(subject, rows.values())
    _show(case, rows)
    return rows


def note(
    subject: str, case: str, seconds: Mapping[str, float], *, threads: int = 2
) -> dict[str, Row]:
    """Append what took minutes and was timed once; the first rival is the baseline."""
    baseline = next(iter(seconds))
    rows = {
        name: _row(subject, case, name, [taken], baseline, [seconds[baseline]], threads)
        for name, taken in seconds.items()
    }
    _append(subject, rows.values())
    _show(case, rows)
    return rows


def _calls_per_round(call: Callable[[], object]) -> int:
    """Return how often to repeat a call so that a round lasts a few milliseconds."""
    call()
    once = min(_time(call, 1) for _ in range(3))
    return max(1, int(0.005 / once))


def _time(call: Callable[[], object], repeats: int) -> float:
    began = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - began) / repeats


def _row(
    subject: str,
    case: str,
    name: str,
    taken: list[float],
    baseline: str,
    base: list[float],
    threads: int,
) -> Row:
    ordered = sorted(taken)
    return Row(
        subject=subject,
        case=case,
        rival=name,
        median=statistics.median(taken),
        quantile_20=ordered[len(ordered) // 5],
        quantile_80=ordered[-1 - len(ordered) // 5],
        ratio=statistics.median(a / b for a, b in zip(taken, base, strict=True)),
        baseline=baseline,
        rounds=len(taken),
        threads=threads,
        redrop=redrop.__version__,
        torch=str(torch.__version__),
        machine=_machine(),
        when=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _machine() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def _append(subject: str, rows: Iterable[Row]) -> None:
    DATA.mkdir(exist_ok=True)
    with (DATA / f"{subject}.jsonl").open("a", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(asdict(row)) + "\n")


def _show(case: str, rows: Mapping[str, Row]) -> None:
    print(case)
    for row in rows.values():
        print(f"  {row.rival:<44} {_readable(row.median):>10}   {row.ratio:8.3f} x {row.baseline}")


def _readable(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"
