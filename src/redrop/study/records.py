"""Records: what a study keeps, and all that its report is made of.

A study folder holds `study.json` (the plan) and `runs/<arm>-s<seed>-<id>.jsonl`, one append-only
file of JSON lines per run: a header (`kind` "run"), evaluations ("eval") and an end ("end"). A line
reaches the disk with one write and one fsync, so a killed run leaves whole lines and at most one
unfinished tail; the tail is cut off when the run goes on. JSON has no NaN: it is stored as null.
What each line holds stands in `schema.py`.
"""

import errno
import fcntl
import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redrop.disk import disk_error, sync_folder, write_atomically
from redrop.errors import UsageError
from redrop.study.schema import (
    PLAN_FILE,
    End,
    Evaluation,
    Header,
    StudyPlan,
    parse,
    read_plan,
)

__all__ = [
    "End",
    "Evaluation",
    "Header",
    "RecordWriter",
    "RunRecord",
    "Study",
    "StudyPlan",
    "canonical_json",
    "read_run",
    "read_study",
    "run_id",
    "write_atomically",
]

# A resumed run must go on with what can change its numbers; another Python cannot.
_VERSIONS_THAT_MATTER = ("redrop", "spec", "torch", "numpy")


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """A run as its file tells it; `end` is None while the run is unfinished."""

    header: Header
    evals: tuple[Evaluation, ...]
    end: End | None
    path: Path

    def at(self, step: int | None) -> Evaluation | None:
        """Return the evaluation at `step`, or None where there is none."""
        return next((line for line in self.evals if line.step == step), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A plan and what has been recorded of it so far."""

    folder: Path
    plan: StudyPlan
    runs: tuple[RunRecord, ...]
    incomplete: tuple[RunRecord, ...]

    @property
    def missing(self) -> tuple[tuple[str, int], ...]:
        """Return the planned (arm, seed) pairs that have no complete record."""
        done = {(run.header.arm, run.header.seed) for run in self.runs}
        planned = [(arm.name, seed) for arm in self.plan.arms for seed in self.plan.seeds]
        return tuple(pair for pair in planned if pair not in done)

    def of_arm(self, name: str) -> dict[int, RunRecord]:
        """Return the complete runs of an arm by seed, in the order of the seeds."""
        runs = [(run.header.seed, run) for run in self.runs if run.header.arm == name]
        return dict(sorted(runs, key=lambda pair: pair[0]))

    def diverged(self, name: str) -> frozenset[int]:
        """Return the seeds at which an arm's complete run diverged."""
        runs = self.of_arm(name)
        return frozenset(
            seed
            for seed, run in runs.items()
            if run.end is not None and run.end.status == "diverged"
        )


def canonical_json(value: object) -> str:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII, no NaN.

    Raises:
        UsageError: The value holds a NaN or an infinity, which JSON cannot say.

    >>> canonical_json({"b": 1, "a": [0.5, None]})
    '{"a":[0.5,null],"b":1}'
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise UsageError(f"Settings must hold finite numbers; got {value!r}.") from error


def run_id(config: Mapping[str, Any], data_sha256: str, code_version: str) -> str:
    """Return the name of a run's content: 12 hex digits of the SHA-256 of all that decides it.

    >>> run_id({"seed": 0}, "ab12", "0.1.0")
    '443fb4ae3e81'
    """
    content = canonical_json({"config": config, "data": data_sha256, "code": code_version})
    return hashlib.sha256(content.encode()).hexdigest()[:12]


class RecordWriter:
    """Append a run's lines to its file, and know what an earlier, killed attempt has recorded.

    Opening an existing file cuts off its unfinished tail. Steps that are recorded already are not
    written again, so a run that resumes from an older checkpoint may simply repeat them. The file
    is locked until `close`: two processes never write one record.

    Raises:
        UsageError: The file belongs to another config or version (the field is named), is broken
            in the middle, is locked by another process, or the disk refuses.
    """

    def __init__(self, path: Path, header: Mapping[str, Any]) -> None:
        self.path = path
        self.lines = 0
        self.steps: set[int] = set()
        self.is_ended = False
        parse(Header, header, f"{path.name}, header")
        self._header = {"kind": "run", **header}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise disk_error(error, path, "Nothing was written.") from error
        try:
            self._open()
        except BaseException:
            os.close(self._file)
            raise

    def _open(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"A record has one writer; `{self.path}` is being written by another process. "
                "Wait for it or end it."
            ) from error
        lines, self._size = _split(self.path)
        if lines:
            record = _assemble(lines, self.path)
            _check_same_run(record.header, self._header, self.path)
            self.lines = len(lines)
            self.steps = {line.step for line in record.evals}
            self.is_ended = record.end is not None
        if os.fstat(self._file).st_size > self._size:  # cut only what is known to be this run's
            os.ftruncate(self._file, self._size)
        if not lines:
            self._append(self._header)
            sync_folder(self.path.parent)

    def write(self, event: Mapping[str, Any]) -> None:
        """Append one event, unless the record has it already.

        Raises:
            UsageError: The event is no valid line, does not follow the recorded ones, or the disk
                refuses; the lines written before are kept.
        """
        where = f"{self.path.name}:{self.lines + 1}"
        kind = event.get("kind")
        if kind == "run":
            _check_same_run(parse(Header, event, where), self._header, self.path)
        elif kind == "eval":
            step = parse(Evaluation, event, where).step
            if step in self.steps:
                return
            if self.is_ended or step < max(self.steps, default=-1):
                raise UsageError(
                    f"{where}: evaluations follow each other and precede the end; got step {step} "
                    "behind them. A longer run is another run: give it its own record."
                )
            self._append(event)
            self.steps.add(step)
        elif kind == "end":
            parse(End, event, where)
            if not self.is_ended:
                self._append(event)
                self.is_ended = True
        else:
            raise UsageError(f'{where}: `kind` must be "run", "eval" or "end"; got {kind!r}.')

    def _append(self, event: Mapping[str, Any]) -> None:
        line = (json.dumps(_finite(event), allow_nan=False) + "\n").encode()
        try:
            if os.write(self._file, line) < len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            kept = f"The {self.lines} lines before are kept; repeat the command to go on."
            raise disk_error(error, self.path, kept) from error
        self._size += len(line)
        self.lines += 1

    def close(self) -> None:
        """Close the file and release its lock."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def read_run(path: Path) -> RunRecord:
    """Read one record; an unfinished tail is left out, the file is not touched.

    Raises:
        UsageError: The file holds no header, or a line that is no record line (file:line named).
    """
    lines, _ = _split(path)
    if not lines:
        raise UsageError(f"A record starts with its header line; `{path}` has none. Remove it.")
    return _assemble(lines, path)


def read_study(folder: Path) -> Study:
    """Read a study folder: its plan, its complete runs and its unfinished ones.

    Raises:
        UsageError: There is no plan, a record is broken, or a record belongs to other settings,
            another version, other data or no arm and seed of the plan.
    """
    plan = read_plan(folder)
    if plan is None:
        raise UsageError(
            f"A study folder holds `{PLAN_FILE}`; `{folder}` does not. Pass the folder of a study."
        )
    runs: dict[tuple[str, int], RunRecord] = {}
    for path in sorted((folder / "runs").glob("*.jsonl")):
        lines, _ = _split(path)
        if not lines:  # killed before the header was whole: nothing is recorded yet
            continue
        run = _assemble(lines, path)
        _check_belongs(run, plan)
        other = runs.setdefault((run.header.arm, run.header.seed), run)
        if other is not run:
            raise UsageError(
                f"A study has one record per arm and seed; `{other.path}` and `{path}` are both "
                f"arm {run.header.arm!r}, seed {run.header.seed}. Move one of them away."
            )
    order = {arm.name: place for place, arm in enumerate(plan.arms)}
    ranked = sorted(runs.values(), key=lambda run: (order[run.header.arm], run.header.seed))
    return Study(
        folder=folder,
        plan=plan,
        runs=tuple(run for run in ranked if run.end is not None),
        incomplete=tuple(run for run in ranked if run.end is None),
    )


def _split(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the JSON lines of a record and the length of the file without an unfinished tail."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"The record `{path}` cannot be read: {error.strerror}.") from error
    *whole, _ = content.split(b"\n")
    lines: list[dict[str, Any]] = []
    size = 0
    for number, raw in enumerate(whole, start=1):
        try:
            line = json.loads(raw, parse_constant=_refuse_constant)
        except ValueError as error:
            if number == len(whole):
                break
            raise UsageError(
                f"`{path}:{number}` is not a line of JSON ({error}), and lines follow it: the file "
                "was changed by something else. Restore it, or remove it to run anew."
            ) from error
        if not isinstance(line, dict):
            raise UsageError(f"`{path}:{number}` must be a JSON object; got {line!r}.")
        lines.append(line)
        size += len(raw) + 1
    return lines, size


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _assemble(lines: list[dict[str, Any]], path: Path) -> RunRecord:
    """Check the lines against the schema and their order: header, rising steps, end."""
    header = parse(Header, _of_kind(lines[0], ("run",), f"{path}:1"), f"{path}:1")
    evals: list[Evaluation] = []
    end = None
    for number, line in enumerate(lines[1:], start=2):
        where = f"{path}:{number}"
        if end is not None:
            raise UsageError(f"{where}: nothing follows the end of a run. Remove the line.")
        if _of_kind(line, ("eval", "end"), where)["kind"] == "end":
            end = parse(End, line, where)
            continue
        evaluation = parse(Evaluation, line, where)
        if evals and evaluation.step <= evals[-1].step:
            raise UsageError(
                f"{where}: steps must rise; got {evaluation.step} after {evals[-1].step}. Remove "
                "the file to run anew."
            )
        evals.append(evaluation)
    return RunRecord(header=header, evals=tuple(evals), end=end, path=path)


def _of_kind(line: dict[str, Any], kinds: tuple[str, ...], where: str) -> dict[str, Any]:
    if line.get("kind") not in kinds:
        raise UsageError(f"{where}: `kind` must be one of {kinds}; got {line.get('kind')!r}.")
    return line


def _check_same_run(recorded: Header, header: Mapping[str, Any], path: Path) -> None:
    """Refuse to go on with a file that holds another run, naming the first field that differs."""
    mine = parse(Header, header, f"{path.name}, header")
    names = {f"versions.{name}": name for name in _VERSIONS_THAT_MATTER}
    pairs: list[tuple[str, Any, Any]]
    pairs = [("arm", recorded.arm, mine.arm), ("seed", recorded.seed, mine.seed)]
    pairs += _differing_leaves(recorded.config, mine.config, "config")
    pairs += [(at, recorded.versions.get(key), mine.versions.get(key)) for at, key in names.items()]
    pairs += [("id", recorded.id, mine.id)]
    for field, was, now in pairs:
        if was != now:
            raise UsageError(
                f"A record holds one run; `{path}` was recorded with {field} = {was!r}, this run "
                f"has {now!r}. Use another study folder."
            )


def _differing_leaves(was: Any, now: Any, at: str) -> list[tuple[str, Any, Any]]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        names = sorted({*was, *now})
        return [
            leaf
            for name in names
            for leaf in _differing_leaves(was.get(name), now.get(name), f"{at}.{name}")
        ]
    # The file has been through JSON, where a tuple is a list.
    return [] if was == json.loads(json.dumps(now)) else [(at, was, now)]


def _check_belongs(run: RunRecord, plan: StudyPlan) -> None:
    """Refuse a record that another plan has made."""
    header = run.header
    if header.arm not in {arm.name for arm in plan.arms} or header.seed not in plan.seeds:
        raise UsageError(
            f"`{run.path}` is arm {header.arm!r}, seed {header.seed}, which the plan in "
            "`study.json` does not list. Move the file away."
        )
    pairs: list[tuple[str, Any, Any]] = [
        (f"versions.{name}", header.versions.get(name), plan.versions.get(name))
        for name in ("redrop", "spec")
    ]
    data = header.config.get("data", {}).get("sha256", plan.data_sha256)
    pairs.append(("data.sha256", data, plan.data_sha256))
    for field, found, planned in pairs:
        if found != planned:
            raise UsageError(
                f"The runs of a study share settings and version; `{run.path}` has {field} = "
                f"{found!r}, the plan {planned!r}. Move the file away, or use another study folder."
            )


def _finite(value: Any) -> Any:
    """Return the value with every NaN and infinity replaced by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(member) for member in value]
    return value
