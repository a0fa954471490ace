"""The store: what HAL has measured and decided, in one SQLite file in the user's data folder.

Several processes read and write it at once (WAL), each change in one transaction. A store that
cannot be read or written costs speed and never a run: every call answers as if nothing were there,
and one line in the log says why. `Store.problem` keeps it, for those who ask.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import sqlite3
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hal.errors import DataError, OutputError
from hal.paths import data_dir

__all__ = ["SCHEMA", "Row", "Store"]

SCHEMA = 1
"""The version of the tables. A store of a newer one is neither read nor written."""
BUSY = 2.0
"""Seconds that a write waits for another process's; a read waits for none."""
_log = logging.getLogger("hal.store")

_TABLES = {
    "files": "the fingerprint of a file's content, by device, inode, size and times",
    "models": "what is known of a model, by its fingerprint",
    "devices": "a device as its backend listed it, by id and environment",
    "measurements": "one candidate's time, error and memory on one model",
    "routes": "a decision, by model, shapes, policy and budget of error",
    "variants": "a model derived of another; its file lies beside the store",
    "answers": "a reference run's outputs; their file lies beside the store",
    "evidence": "what conformance runs found of an operator on a device",
}
"""Every table has the same form: a key, a group to list and clear by, a document, and a time."""

_DDL = """CREATE TABLE IF NOT EXISTS {table} (
    key TEXT PRIMARY KEY, "group" TEXT NOT NULL, document TEXT NOT NULL, time REAL NOT NULL
) WITHOUT ROWID"""
_INDEX = 'CREATE INDEX IF NOT EXISTS {table}_group ON {table} ("group", time)'


@dataclasses.dataclass(frozen=True)
class Row:
    """One row: its key, its group, its document, and when it was written (seconds since 1970)."""

    key: str
    group: str
    document: Mapping[str, Any]
    time: float


class Store:
    """One process's connection to the store, opened on first use; for several threads.

    `path` is by default `store.sqlite` in `hal.paths.data_dir()`. A context manager.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = data_dir() / "store.sqlite" if path is None else path
        self.problem = ""
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None
        self._opened = False
        self._writeable = True

    @property
    def folder(self) -> Path:
        """Where files of variants and answers lie; it need not exist yet."""
        return self.path.with_suffix("")

    def get(self, table: str, key: str) -> dict[str, Any] | None:
        """The document of a key; None if there is none, or the store cannot be read."""
        row = self.row(table, key)
        return None if row is None else dict(row.document)

    def row(self, table: str, key: str) -> Row | None:
        """The row of a key, as `get`."""
        found = self._rows(table, f"{_select(table)} WHERE key = ?", [key])
        return found[0] if found else None

    def rows(self, table: str, group: str | None = None) -> list[Row]:
        """The rows of a group, or all of them, the oldest first."""
        if group is None:
            return self._rows(table, f"{_select(table)} ORDER BY time, key", [])
        return self._rows(table, f'{_select(table)} WHERE "group" = ? ORDER BY time, key', [group])

    def put(self, table: str, key: str, document: Mapping[str, Any], *, group: str = "") -> bool:
        """Write a row, in place of an older one of that key. Returns whether it is committed."""
        return self.put_many(table, [(key, document)], group=group)

    def put_many(
        self, table: str, rows: Sequence[tuple[str, Mapping[str, Any]]], *, group: str = ""
    ) -> bool:
        """Write rows, all of them or none. Returns whether they are committed."""
        now = time.time()
        values = [(key, group, json.dumps(document), now) for key, document in rows]
        statement = f"INSERT OR REPLACE INTO {_known(table)} VALUES (?, ?, ?, ?)"  # noqa: S608
        with self._lock:
            connection = self._open()
            if connection is None or not self._writeable:
                return False
            try:
                with connection:
                    connection.executemany(statement, values)
                return True
            except sqlite3.Error as error:
                self._not_written(error)
                return False

    def delete(self, table: str, *, key: str | None = None, group: str | None = None) -> int:
        """Remove a row, a group, or with neither everything in a table; returns how many rows.

        Raises OutputError when the store cannot be written: who clears wants to know.
        """
        name = _known(table)
        with self._lock:
            connection = self._open()
            if connection is None or not self._writeable:
                raise OutputError(self.problem or f"{self.path} is read-only")
            try:
                with connection:
                    if key is not None:
                        done = connection.execute(f"DELETE FROM {name} WHERE key = ?", [key])  # noqa: S608
                    elif group is not None:
                        done = connection.execute(f'DELETE FROM {name} WHERE "group" = ?', [group])  # noqa: S608
                    else:
                        done = connection.execute(f"DELETE FROM {name}")  # noqa: S608
                return done.rowcount
            except sqlite3.Error as error:
                raise OutputError(f"{self.path}: {error}", next_step="hal doctor") from None

    def require(self) -> None:
        """Raise DataError unless the store can be read: for commands that are about it."""
        with self._lock:
            self._open()
        if self._connection is None and self.problem:
            raise DataError(self.problem, next_step=f"upgrade hal-core, or move {self.path} away")

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            if self._connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    self._connection.close()
            self._connection, self._opened = None, True

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _rows(self, table: str, statement: str, parameters: list[Any]) -> list[Row]:
        with self._lock:
            connection = self._open()
            if connection is None:
                return []
            try:
                found = connection.execute(statement, parameters).fetchall()
                return [Row(k, g, json.loads(d), t) for k, g, d, t in found]
            except (sqlite3.Error, ValueError, TypeError) as error:
                self._degrade(f"cannot be read ({table}: {error})")
                return []

    def _not_written(self, error: sqlite3.Error) -> None:
        self._say(f"cannot be written ({error})")
        # Behind another process's long write the next call tries again; a full disk stays full.
        self._writeable = "locked" in str(error)

    def _open(self) -> sqlite3.Connection | None:
        if self._opened:
            return self._connection
        self._opened = True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect("mode=rwc")
            self._prepare(self._connection)
        except (OSError, sqlite3.Error) as error:
            self._give_up()
            if self.path.is_file():
                self._open_read_only(str(error))
            else:
                self._degrade(f"cannot be made ({getattr(error, 'strerror', None) or error})")
        except DataError as error:
            self._give_up()
            self._degrade(str(error))
        return self._connection

    def _open_read_only(self, reason: str) -> None:
        """A folder that cannot be written: what is there is read, nothing is added."""
        for mode in ("mode=ro", "mode=ro&immutable=1"):
            try:
                self._connection = self._connect(mode)
                self._check_version(self._connection)
                self._connection.execute("SELECT 1 FROM routes LIMIT 1").fetchall()
            except (sqlite3.Error, DataError) as error:
                self._give_up()
                reason = str(error)
                continue
            self._writeable = False
            self._say(f"is read-only here ({reason})")
            return
        self._degrade(f"cannot be read ({reason})")

    def _connect(self, mode: str) -> sqlite3.Connection:
        uri = f"{self.path.absolute().as_uri()}?{mode}"
        return sqlite3.connect(uri, uri=True, timeout=BUSY, check_same_thread=False)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        if self._check_version(connection) == SCHEMA:
            return
        self._write_ahead(connection)
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            if self._check_version(connection) != SCHEMA:
                for table in _TABLES:
                    connection.execute(_DDL.format(table=table))
                    connection.execute(_INDEX.format(table=table))
                connection.execute(f"PRAGMA user_version = {SCHEMA}")

    def _write_ahead(self, connection: sqlite3.Connection) -> None:
        """Turn WAL on. SQLite does not wait here for another process that does the same."""
        end = time.monotonic() + BUSY
        while True:
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def _check_version(self, connection: sqlite3.Connection) -> int:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA:
            raise DataError(f"is of a newer HAL (schema {version}; this one has {SCHEMA})")
        return version

    def _give_up(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None

    def _degrade(self, reason: str) -> None:
        self._give_up()
        self._writeable = False
        self._say(reason)

    def _say(self, reason: str) -> None:
        if not self.problem:
            _log.warning("the store %s %s: HAL goes on without it", self.path, reason)
        self.problem = f"the store {self.path} {reason}"


def _select(table: str) -> str:
    return f'SELECT key, "group", document, time FROM {_known(table)}'  # noqa: S608 (of _TABLES)


def _known(table: str) -> str:
    if table not in _TABLES:
        raise ValueError(f"the store has no table {table!r}")
    return table
