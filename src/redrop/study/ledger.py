"""The ledger: an index of all runs in a folder of studies, `ledger.sqlite`.

It is made of the records and can be made again from them at any time; they are what counts. It
answers one question fast, whether any study here has finished a run of this content, and it is
there for everyone who would rather ask SQL than read files:

    sqlite3 studies/ledger.sqlite "SELECT study, arm, seed, best_validation_loss FROM runs"

Nothing depends on it: where it is locked, cannot be written or is no ledger, a line says so and
the runs are computed.
"""

import contextlib
import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redrop.errors import UsageError
from redrop.study.records import RunRecord, read_run
from redrop.study.schema import PLAN_FILE

LEDGER_FILE = "ledger.sqlite"
STUDIES = "studies"
"""A folder of this name holds studies; another one does if there is a ledger in it."""

DEPTH = 2
"""A study with a budget holds the studies of its stages."""

_FORMAT = 1
_APPLICATION = 0x7265_6472  # "redr": tells our file from any other database
_SECONDS_FOR_A_LOCK = 2.0

_COLUMNS: Mapping[str, str] = {
    "path": "TEXT PRIMARY KEY",
    "id": "TEXT NOT NULL",
    "study": "TEXT NOT NULL",
    "arm": "TEXT NOT NULL",
    "seed": "INTEGER NOT NULL",
    "status": "TEXT NOT NULL",
    "steps": "INTEGER",
    "best_step": "INTEGER",
    "best_validation_loss": "REAL",
    "final_validation_loss": "REAL",
    "test_loss_best": "REAL",
    "test_loss_final": "REAL",
    "seconds": "REAL",
    "started": "TEXT NOT NULL",
    "redrop": "TEXT",
    "spec": "TEXT",
    "torch": "TEXT",
    "numpy": "TEXT",
    "python": "TEXT",
    "code": "TEXT",
    "size": "INTEGER NOT NULL",
    "modified_ns": "INTEGER NOT NULL",
}
_OF_THE_END = (
    "best_step",
    "best_validation_loss",
    "final_validation_loss",
    "test_loss_best",
    "test_loss_final",
    "seconds",
)
_VERSIONS = ("redrop", "spec", "torch", "numpy", "python", "code")
UNFINISHED = "unfinished"

_log = logging.getLogger(__name__)


class Ledger:
    """The ledger of the folder that holds a study, open while inside `with`.

    No method raises for what is wrong with the ledger: it says so once, and from then on knows of
    no run.

    Args:
        study: A study folder. Where the folder around it is no folder of studies there is no
            ledger, and every answer is empty.
    """

    def __init__(self, study: Path) -> None:
        self.root = studies_folder(study)
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        if self.root is not None:
            with self._surviving():
                self._connection = _connect(self.root / LEDGER_FILE)
                self._sync(self.root)
        return self

    def finished(self, run_id: str) -> list[Path]:
        """Return the records of finished runs of that content, the oldest first."""
        found: list[Path] = []
        if self._connection is not None and self.root is not None:
            with self._surviving():
                rows = self._connection.execute(
                    "SELECT path FROM runs WHERE id = ? AND status <> ? ORDER BY started, path",
                    (run_id, UNFINISHED),
                )
                found = [self.root / path for (path,) in rows]
        return found

    def note(self, record: Path) -> None:
        """Take a record in, or what has changed in it."""
        if self._connection is not None and self.root is not None:
            with self._surviving(), self._connection:
                self._read(self.root, record.resolve())

    def _sync(self, root: Path) -> None:
        """Make the rows say what the records say: read what changed, forget what is gone."""
        assert self._connection is not None
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            rows = self._connection.execute("SELECT path, size, modified_ns FROM runs")
            known = {path: (size, modified) for path, size, modified in rows}
            for record in _records(root):
                status = record.stat()
                at = record.relative_to(root).as_posix()
                if known.pop(at, None) != (status.st_size, status.st_mtime_ns):
                    self._read(root, record)
            gone = [(path,) for path in known]
            self._connection.executemany("DELETE FROM runs WHERE path = ?", gone)

    def _read(self, root: Path, path: Path) -> None:
        assert self._connection is not None
        status = path.stat()
        try:
            row = _row(read_run(path), path.relative_to(root), status)
        except UsageError:  # broken or not begun: its own study says so, in its own words
            return
        marks = ", ".join("?" * len(_COLUMNS))
        values = [row[name] for name in _COLUMNS]
        self._connection.execute(f"INSERT OR REPLACE INTO runs VALUES ({marks})", values)

    @contextmanager
    def _surviving(self) -> Iterator[None]:
        """Say what went wrong, and go on without a ledger."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            _log.warning(
                "The ledger `%s` is not used (%s): runs that other studies have finished are "
                "computed again. Records are complete without it.",
                self.root and self.root / LEDGER_FILE,
                error,
            )
            self._close()

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()


def studies_folder(study: Path) -> Path | None:
    """Return the folder of studies that a study lies in, or None where it lies anywhere else.

    >>> studies_folder(Path("/home/me/studies/mine/2-screen"))
    PosixPath('/home/me/studies')
    >>> studies_folder(Path("/home/me/mine"))
    """
    above = study.resolve().parents[:DEPTH]
    return next((f for f in above if f.name == STUDIES or (f / LEDGER_FILE).exists()), None)


def _connect(path: Path) -> sqlite3.Connection:
    """Open a ledger; one that is damaged is laid aside and begun anew."""
    try:
        return _open(path)
    except sqlite3.OperationalError:  # locked, read-only, a full disk: nothing is damaged
        raise
    except sqlite3.DatabaseError:
        path.replace(path.with_name(f"{path.name}.damaged"))
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _open(path)


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_SECONDS_FOR_A_LOCK, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            _prepare(connection)
        # A page that was overwritten may go unnoticed for long; the index is small.
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if said != "ok":
            raise sqlite3.DatabaseError(said)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the table where it is missing or of another format; leave other people's files alone."""
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (made_as,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and owner != _APPLICATION:
        raise sqlite3.OperationalError("the file is another program's database")
    if tables and made_as == _FORMAT:
        return
    connection.execute("DROP TABLE IF EXISTS runs")
    columns = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    connection.execute(f"CREATE TABLE runs ({columns}) WITHOUT ROWID")
    connection.execute("CREATE INDEX runs_by_id ON runs (id)")
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {_FORMAT}")


def _records(root: Path) -> Iterator[Path]:
    for depth in range(1, DEPTH + 1):
        for plan in sorted(root.glob("*/" * depth + PLAN_FILE)):
            yield from sorted((plan.parent / "runs").glob("*.jsonl"))


def _row(run: RunRecord, at: Path, status: os.stat_result) -> dict[str, Any]:
    header, end = run.header, run.end
    last = run.evals[-1].step if run.evals else 0
    versions = {name: header.versions.get(name) for name in _VERSIONS}
    return {
        "path": at.as_posix(),
        "id": header.id,
        "study": at.parent.parent.as_posix(),
        "arm": header.arm,
        "seed": header.seed,
        "status": end.status if end else UNFINISHED,
        "steps": end.steps if end else last,
        **{name: getattr(end, name, None) for name in _OF_THE_END},
        "started": header.started,
        **{name: None if said is None else str(said) for name, said in versions.items()},
        "size": status.st_size,
        "modified_ns": status.st_mtime_ns,
    }
