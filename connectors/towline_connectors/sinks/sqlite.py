"""SQLite destination: one file in WAL mode. Several processes of one node may write to it in turn."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, Final

import orjson

from towline.contract import SyncIdentity
from towline_connectors.entities.model import Entity
from towline_connectors.sinks import schema, views
from towline_connectors.sinks.base import Session, SinkError
from towline_connectors.sinks.changes import Row, Seen, Stored, columns_of, uids
from towline_connectors.sinks.records import utc_now
from towline_connectors.sinks.schema import Dialect, literal, quote
from towline_connectors.sinks.session import SqlSession
from towline_connectors.sinks.store import Stamp, UnstorableText

BUSY_SECONDS: Final = 60  # how long a writer waits for another process's transaction
PAGE_BYTES: Final = 8192
CACHE_KIB: Final = 8192  # beyond it the system's page cache serves, which no memory limit counts as the pod's own
CHECKPOINT_PAGES: Final = 4096  # the write-ahead log goes back into the file when it has so many pages
KEPT_STATEMENTS: Final = 32  # one of 500 rows holds about a megabyte
STATEMENT_ROWS: Final = (500, 50, 5, 1)  # rows of one statement; few sizes, so that few statements are kept prepared


class SqliteSink:
    """`path` is made when it does not exist; its folder must exist."""

    def __init__(self, path: str, *, clock: Callable[[], str] = utc_now, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._clock = clock
        self._busy_seconds = busy_seconds

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        store = SqliteStore(self._path, self._busy_seconds)
        try:
            return SqlSession.open(store, integration, connector, sync, pod_uid, self._clock())
        except BaseException:
            store.close()
            raise


class SqliteStore:
    """See sinks.store.Store."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: str, busy_seconds: float = BUSY_SECONDS) -> None:
        self._path = path
        self._seconds = busy_seconds
        folder = Path(path).parent
        if not folder.is_dir():
            raise SinkError(f"The folder {folder} of the SQLite file does not exist; make it.", transient=False)
        with self._errors():
            # The engine opens in one thread and writes in another, never in both at once.
            self._db = sqlite3.connect(
                path,
                timeout=busy_seconds,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=KEPT_STATEMENTS,
            )
            self._most_params = self._db.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
        try:
            with self._errors():
                self._db.execute(f"PRAGMA page_size={PAGE_BYTES}")  # counts for a new file only
                self._db.execute("PRAGMA journal_mode=WAL")
                # A power cut may cost the last commits, never the file; killing the process costs nothing.
                self._db.execute("PRAGMA synchronous=NORMAL")
                self._db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
                self._db.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
                self._db.execute(f"PRAGMA journal_size_limit={64 << 20}")
        except SinkError:
            self._db.close()
            raise

    def prepare(self, now: str) -> None:
        wanted = [schema.create_table(table, "sqlite") for table in schema.tables()]
        wanted += [*(view.sql("sqlite") for view in views.all_views()), *schema.guards("sqlite")]
        mark = schema.fingerprint(wanted)
        with self._errors():
            if self._is_laid_out(mark):
                return
        with self.transaction():
            if not self._is_laid_out(mark):
                self._migrate(now, mark)

    def _is_laid_out(self, mark: str) -> bool:
        if not self._columns("towline_schema"):
            return False
        newest = self._db.execute("SELECT max(format) FROM towline_schema").fetchone()[0]
        if newest is not None and newest > schema.FORMAT:
            raise schema.too_new(self._path, newest)
        return self._db.execute("SELECT 1 FROM towline_schema WHERE fingerprint = ?", (mark,)).fetchone() is not None

    def _columns(self, table: str) -> list[str]:
        return [name for (name,) in self._db.execute("SELECT name FROM pragma_table_info(?)", (table,))]

    def _migrate(self, now: str, mark: str) -> None:
        for table in schema.tables():
            self._db.execute(schema.create_table(table, "sqlite"))
            for sql in schema.add_columns(table, self._columns(table.name), "sqlite"):
                self._db.execute(sql)
            for sql in schema.create_indexes(table):
                self._db.execute(sql)
        for sql in schema.guards("sqlite"):
            self._db.execute(sql)
        for view in views.all_views():
            self._db.execute(f"DROP VIEW IF EXISTS {quote(view.name)}")
            self._db.execute(view.sql("sqlite"))
        self._db.execute("INSERT INTO towline_schema VALUES (?, ?, ?)", (mark, schema.FORMAT, now))

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself when the volume is full.
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise describe(error, self._path, self._seconds) from error
        except UnicodeEncodeError as error:
            raise UnstorableText("A text with half a surrogate pair cannot be stored.", transient=False) from error

    def execute(self, sql: str, params: tuple[Any, ...] = ()) -> int:
        return self._db.execute(sql, params).rowcount

    def fetch(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._db.execute(sql, params).fetchall()

    def lock_claim(self, integration: str) -> tuple[Any, ...] | None:
        rows = self.fetch(
            "SELECT token, sync_uid, sync_name, created, attempt, pod_uid FROM towline_claims WHERE integration = ?",
            (integration,),
        )
        return rows[0] if rows else None

    def has_rows(self, entity: Entity, integration: str) -> bool:
        return bool(self.fetch(f"SELECT 1 FROM {quote(entity.table)} WHERE integration = ? LIMIT 1", (integration,)))

    def stored(self, entity: Entity, integration: str, keys: list[str]) -> dict[str, Stored]:
        # One row with all of it: each row fetched would give up the interpreter's lock and wait to get it back.
        found = self.fetch(
            "SELECT json_group_array(json_array(source_key, content_hash, source_time,"
            " deleted_time IS NOT NULL, run_id, scan_id, stream))"
            f" FROM {quote(entity.table)} WHERE integration = ? AND source_key IN (SELECT value FROM json_each(?))",
            (integration, orjson.dumps(keys).decode()),
        )
        return {row[0]: Stored._make(row[1:]) for row in orjson.loads(found[0][0])}

    def insert(self, entity: Entity, stamp: Stamp, rows: list[Row]) -> int:
        return self._write(entity, stamp, rows, "DO NOTHING")

    def change(self, entity: Entity, stamp: Stamp, rows: list[Row]) -> None:
        names = (*entity.columns, "stream", "run_id", "last_seen_time", "modified_time")
        sets = [f"{quote(name)} = excluded.{quote(name)}" for name in names if name != "source_key"]
        self._write(entity, stamp, rows, f"DO UPDATE SET {', '.join(sets)}, deleted_time = NULL")

    def see(self, entity: Entity, stamp: Stamp, rows: list[Seen]) -> None:
        sets = [f"{name} = excluded.{name}" for name in ("last_seen_time", "run_id", "stream", "scan_id")]
        sets += [f"{name} = coalesce(excluded.{name}, {quote(entity.table)}.{name})" for name in ("source_time", "raw")]
        nothing = (None,) * len(entity.fields)
        full = [(key, *nothing, time, None, scan, raw) for key, time, scan, raw in rows]
        self._write(entity, stamp, full, f"DO UPDATE SET {', '.join(sets)}")

    def _write(self, entity: Entity, stamp: Stamp, rows: list[Row], on_conflict: str) -> int:
        """Insert rows, many with one statement: sqlite3 gives up the interpreter's lock at each, and beside a
        busy thread waits milliseconds to get it back."""
        columns = columns_of(entity, rows)
        for field in entity.fields:
            if field.type in ("texts", "json") and field.column in columns:
                columns[field.column] = tuple(map(_json_text, columns[field.column]))
        columns["uid"] = tuple(uids(entity, stamp.integration, columns["source_key"]))
        params = list(chain.from_iterable(zip(*columns.values(), strict=True)))
        now = literal(stamp.now)
        fixed = {
            "integration": literal(stamp.integration),
            "stream": literal(stamp.stream),
            "run_id": literal(stamp.run_id),
            "first_seen_time": now,
            "last_seen_time": now,
            "modified_time": now,
        }
        # raw comes as bytes; SQLite's JSON functions want text.
        places = ["CAST(? AS TEXT)" if name == "raw" else "?" for name in columns]
        one = f"({', '.join([*fixed.values(), *places])})"
        head = f"INSERT INTO {quote(entity.table)} ({', '.join(map(quote, (*fixed, *columns)))}) VALUES "
        tail = f" ON CONFLICT (integration, source_key) {on_conflict}"
        written = done = 0
        for size in STATEMENT_ROWS:
            if size * len(columns) > self._most_params:
                continue
            sql = f"{head}{', '.join([one] * size)}{tail}" if len(rows) - done >= size else ""
            while len(rows) - done >= size:
                part = params[done * len(columns) : (done + size) * len(columns)]
                written += self._db.execute(sql, part).rowcount
                done += size
        return written

    def delete(self, entity: Entity, stamp: Stamp, keys: list[str]) -> int:
        return self.execute(
            f"UPDATE {quote(entity.table)} SET deleted_time = ?, run_id = ? WHERE integration = ?"
            " AND source_key IN (SELECT value FROM json_each(?)) AND deleted_time IS NULL",
            (stamp.now, stamp.run_id, stamp.integration, orjson.dumps(keys).decode()),
        )

    def delete_others(self, entity: Entity, stamp: Stamp, column: str, value: str, keys: list[str]) -> int:
        return self.execute(
            f"UPDATE {quote(entity.table)} SET deleted_time = ?, run_id = ? WHERE integration = ?"
            f" AND {quote(column)} = ? AND source_key NOT IN (SELECT value FROM json_each(?))"
            " AND deleted_time IS NULL",
            (stamp.now, stamp.run_id, stamp.integration, value, orjson.dumps(keys).decode()),
        )

    def reconnect(self) -> None:
        """A file does not lose its connection."""

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()


def _json_text(value: Any) -> str | None:
    return value if value is None or value.__class__ is str else orjson.dumps(value).decode()


def describe(error: sqlite3.Error, path: str, seconds: float) -> SinkError:
    """What happened to the file, and the cure."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return SinkError(
            f"The volume of {path} is full; nothing of this batch was written. Make the volume larger or free space.",
            full=True,
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return SinkError(f"{path} was locked by another process for more than {seconds:g} s; try again later.")
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        return SinkError(f"{path} cannot be written to: give this user write access to it and its folder.")
    if code == sqlite3.SQLITE_CANTOPEN:
        return SinkError(f"{path} cannot be opened: it must be a file, in a folder that this user may write to.")
    if code == sqlite3.SQLITE_NOTADB:
        return SinkError(f"{path} is no SQLite database; name another file.", transient=False)
    if code == sqlite3.SQLITE_CORRUPT:
        return SinkError(f"{path} is damaged; restore it, or move it away and sync in full.", transient=False)
    if code == sqlite3.SQLITE_IOERR:
        return SinkError(f"{path} cannot be read or written: its volume reports an input/output error.")
    return SinkError(f"{path} refused a statement ({getattr(error, 'sqlite_errorname', type(error).__name__)}).")
