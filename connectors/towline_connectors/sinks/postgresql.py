"""PostgreSQL destination: rows go in by binary COPY, in one transaction with their checkpoint.

Works behind a pooler in transaction mode: nothing but temporary tables, made when missing, outlives a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import repeat
from typing import Any, Final

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import TextLoader

from towline.contract import SyncIdentity
from towline_connectors.entities.model import Entity
from towline_connectors.sinks import postgresql_errors, reach, schema, views
from towline_connectors.sinks.base import Session, SinkError
from towline_connectors.sinks.changes import Row, Seen, Stored, columns_of, uids
from towline_connectors.sinks.reach import Judge
from towline_connectors.sinks.records import utc_now
from towline_connectors.sinks.schema import Dialect, literal, quote
from towline_connectors.sinks.session import SqlSession
from towline_connectors.sinks.store import ConnectionLost, Stamp, UnstorableText

CONNECT_SECONDS: Final = 10
MIGRATION_LOCK: Final = 0x746F776C696E65  # "towline", for pg_advisory_xact_lock
# A stopped or lost pod must not hold its claim's lock for ever; a waiting one gives up in time to be retried.
SETTINGS: Final = (
    "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '10min';"
    " SET LOCAL idle_in_transaction_session_timeout = '60s';"
    # Our joins are of thousands of rows with a table of any size, by its key. The planner, which has no
    # statistics of temporary tables, would read the whole table for each batch.
    " SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off"
)
# COPY's types of our columns; json arrives as bytes, which PostgreSQL takes as they are.
COPY_TYPES: Final = {
    "text": "text",
    "integer": "bigint",
    "number": "double precision",
    "boolean": "boolean",
    "time": "timestamptz",
    "texts": "text[]",
    "json": "bytea",
    "ref": "text",
}


class PostgresqlSink:
    """`url` is a postgresql:// URL with libpq's parameters."""

    def __init__(self, url: str, *, clock: Callable[[], str] = utc_now, judge: Judge | None = None) -> None:
        self._url = url
        self._judge = judge
        self._clock = clock

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        store = PostgresqlStore(self._url, self._judge)
        try:
            return SqlSession.open(store, integration, connector, sync, pod_uid, self._clock())
        except BaseException:
            store.close()
            raise


class PostgresqlStore:
    """See sinks.store.Store."""

    dialect: Dialect = "postgresql"

    def __init__(self, url: str, judge: Judge | None = None) -> None:
        self._url = url
        self._judge = judge
        self._db = connect(url, judge=judge)

    def prepare(self, now: str) -> None:
        wanted = [schema.create_table(table, "postgresql") for table in schema.tables()]
        wanted += [*(view.sql("postgresql") for view in views.all_views()), *schema.guards("postgresql")]
        mark = schema.fingerprint(wanted)
        with self.transaction():
            if self._is_laid_out(mark):
                return
        with self.transaction():
            self._run("SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0")
            self._run(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
            if not self._is_laid_out(mark):
                self._migrate(now, mark)

    def _is_laid_out(self, mark: str) -> bool:
        if self.fetch("SELECT to_regclass('towline_schema')") == [(None,)]:
            return False
        newest = self.fetch("SELECT max(format) FROM towline_schema")[0][0]
        if newest is not None and newest > schema.FORMAT:
            raise schema.too_new("The database", newest)
        return bool(self.fetch("SELECT 1 FROM towline_schema WHERE fingerprint = ?", (mark,)))

    def _migrate(self, now: str, mark: str) -> None:
        for table in schema.tables():
            self._run(schema.create_table(table, "postgresql"))
            present = self.fetch(
                "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(?) AND attnum > 0 AND NOT attisdropped",
                (quote(table.name),),
            )
            for sql in schema.add_columns(table, (name for (name,) in present), "postgresql"):
                self._run(sql)
            for sql in schema.create_indexes(table):
                self._run(sql)
        for sql in schema.guards("postgresql"):
            self._run(sql)
        self._make_views()
        self.execute("INSERT INTO towline_schema VALUES (?, ?, ?)", (mark, schema.FORMAT, now))

    def _make_views(self) -> None:
        # Columns that a view has may not be moved: it is then dropped, with those of ours that stand on it, and made
        # anew. A view that others stand on cannot be dropped: it stays as it is, which still is right.
        moved: list[views.View] = []
        for view in views.all_views():
            if any(other.name in view.query for other in moved) or not self._is_done(view.sql("postgresql")):
                moved.append(view)
        for view in reversed(moved):
            self._is_done(f"DROP VIEW IF EXISTS {quote(view.name)}")
        for view in moved:
            self._is_done(view.sql("postgresql"))

    def _is_done(self, sql: str) -> bool:
        try:
            with self._db.transaction():
                self._run(sql)
        except (psycopg.errors.InvalidTableDefinition, psycopg.errors.DependentObjectsStillExist):
            return False
        return True

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            with self._db.transaction():
                self._run(SETTINGS)
                yield
        except psycopg.DataError as error:
            raise UnstorableText(str(postgresql_errors.describe(error, self._url)), transient=False) from error
        except UnicodeEncodeError as error:
            raise UnstorableText("A text with half a surrogate pair cannot be stored.", transient=False) from error
        except psycopg.Error as error:
            if self._db.closed or postgresql_errors.is_worth_repeating(error):
                raise ConnectionLost(str(postgresql_errors.describe(error, self._url))) from None
            raise postgresql_errors.describe(error, self._url) from error

    def _run(self, sql: str, params: tuple[Any, ...] | None = None) -> psycopg.Cursor[tuple[Any, ...]]:
        return self._db.execute(sql, params)

    def execute(self, sql: str, params: tuple[Any, ...] = ()) -> int:
        return self._run(sql.replace("?", "%s"), params).rowcount

    def fetch(self, sql: str, params: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        return self._run(sql.replace("?", "%s"), params).fetchall()

    def lock_claim(self, integration: str) -> tuple[Any, ...] | None:
        sql = (
            "SELECT token, sync_uid, sync_name, created, attempt, pod_uid FROM towline_claims"
            " WHERE integration = ? FOR UPDATE"
        )
        rows = self.fetch(sql, (integration,))
        if not rows:  # nothing to lock yet: the first claims of an integration wait for each other here
            self._run("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (integration,))
            rows = self.fetch(sql, (integration,))
        return rows[0] if rows else None

    def stored(self, entity: Entity, integration: str, keys: list[str]) -> dict[str, Stored]:
        cursor = self._db.cursor(binary=True)
        cursor.execute(
            "SELECT source_key, content_hash, source_time, deleted_time IS NOT NULL, run_id, scan_id, stream"
            f" FROM {quote(entity.table)} WHERE integration = %s AND source_key = ANY(%s)",
            (integration, keys),
        )
        return {row[0]: Stored._make(row[1:]) for row in cursor}

    def has_rows(self, entity: Entity, integration: str) -> bool:
        return bool(self.fetch(f"SELECT 1 FROM {quote(entity.table)} WHERE integration = ? LIMIT 1", (integration,)))

    def insert(self, entity: Entity, stamp: Stamp, rows: list[Row]) -> int:
        columns = _columns(entity, rows)
        now = datetime.fromisoformat(stamp.now)
        fixed = {
            "integration": stamp.integration,
            "stream": stamp.stream,
            "run_id": stamp.run_id,
            "first_seen_time": now,
            "last_seen_time": now,
            "modified_time": now,
        }
        full: dict[str, Iterable[Any]] = {name: repeat(value, len(rows)) for name, value in fixed.items()}
        full["uid"] = uids(entity, stamp.integration, columns["source_key"])
        full |= columns
        try:
            with self._db.transaction():
                self._copy(entity, quote(entity.table), full)
        except psycopg.errors.UniqueViolation:
            return 0
        return len(rows)

    def change(self, entity: Entity, stamp: Stamp, rows: list[Row]) -> None:
        sets = [f"{quote(name)} = n.{quote(name)}" for name in entity.columns if name != "source_key"]
        now = literal(stamp.now)
        self._update(entity, stamp, "changed", rows, [*sets, "deleted_time = NULL", f"modified_time = {now}"])

    def see(self, entity: Entity, stamp: Stamp, rows: list[Seen]) -> None:
        nothing = (None,) * len(entity.fields)
        full = [(key, *nothing, time, None, scan, raw) for key, time, scan, raw in rows]
        sets = ["scan_id = n.scan_id", *(f"{name} = coalesce(n.{name}, t.{name})" for name in ("source_time", "raw"))]
        self._update(entity, stamp, "seen", full, sets)

    def _update(self, entity: Entity, stamp: Stamp, kind: str, rows: list[Row], sets: list[str]) -> None:
        table = quote(f"towline_{kind}_{entity.table}")
        self._run(
            f"CREATE TEMP TABLE IF NOT EXISTS {table} ON COMMIT DELETE ROWS AS"
            f" SELECT {', '.join(map(quote, entity.columns))} FROM {quote(entity.table)} WITH NO DATA"
        )
        self._copy(entity, table, _columns(entity, rows))
        sets = [*sets, f"stream = {literal(stamp.stream)}", f"run_id = {literal(stamp.run_id)}"]
        self._run(
            f"UPDATE {quote(entity.table)} t SET {', '.join(sets)}, last_seen_time = {literal(stamp.now)}"
            f" FROM {table} n WHERE t.integration = {literal(stamp.integration)} AND t.source_key = n.source_key"
        )

    def delete(self, entity: Entity, stamp: Stamp, keys: list[str]) -> int:
        return self.execute(
            f"UPDATE {quote(entity.table)} SET deleted_time = ?, run_id = ? WHERE integration = ?"
            " AND source_key = ANY(?) AND deleted_time IS NULL",
            (stamp.now, stamp.run_id, stamp.integration, keys),
        )

    def delete_others(self, entity: Entity, stamp: Stamp, column: str, value: str, keys: list[str]) -> int:
        return self.execute(
            f"UPDATE {quote(entity.table)} SET deleted_time = ?, run_id = ? WHERE integration = ?"
            f" AND {quote(column)} = ? AND source_key <> ALL(?) AND deleted_time IS NULL",
            (stamp.now, stamp.run_id, stamp.integration, value, keys),
        )

    def reconnect(self) -> None:
        self.close()
        self._db = connect(self._url, judge=self._judge)

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._db.close()

    def _copy(self, entity: Entity, table: str, columns: Mapping[str, Iterable[Any]]) -> None:
        types = dict(schema.entity_table(entity).columns)
        sql = f"COPY {table} ({', '.join(map(quote, columns))}) FROM STDIN (FORMAT BINARY)"
        with self._db.cursor() as cursor, cursor.copy(sql) as copy:
            copy.set_types([COPY_TYPES[types[name]] for name in columns])
            write = copy.write_row
            for row in zip(*columns.values(), strict=True):
                write(row)


def _columns(entity: Entity, rows: list[Row]) -> dict[str, Iterable[Any]]:
    """The rows by column, times as such and JSON as bytes."""
    types = dict(schema.entity_table(entity).columns)
    converters = {"time": _time, "json": _json}
    columns: dict[str, Iterable[Any]] = {}
    for name, values in columns_of(entity, rows).items():
        convert = converters.get(types[name])
        columns[name] = values if convert is None else map(convert, values)
    return columns


def _time(value: str | None) -> datetime | None:
    return None if value is None else datetime.fromisoformat(value)


def _json(value: Any) -> bytes | None:
    return value if value is None or value.__class__ is bytes else orjson.dumps(value)


def connect(url: str, *, read_only: bool = False, judge: Judge | None = None) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection. SinkError, without the password, when there is none."""
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise SinkError(
            "The PostgreSQL URL cannot be read; it looks like postgresql://USER:PASSWORD@HOST:5432/DATABASE,"
            " with special characters of the password percent-encoded.",
            transient=False,
        ) from None
    defaults: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "towline",
        "keepalives_idle": 30,
        "keepalives_interval": 10,
        "keepalives_count": 3,
        "tcp_user_timeout": 60000,
    }
    options = {name: value for name, value in defaults.items() if name not in given}
    if judge is not None:
        try:
            options |= reach.postgresql(given, judge)
        except OSError:
            raise postgresql_errors.unresolved(url) from None
    try:
        # No prepared statements: a pooler in transaction mode would lose them.
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=None, **options)
    except psycopg.Error as error:
        raise postgresql_errors.describe_refusal(error, url) from None
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    connection.read_only = read_only or None
    connection.adapters.register_loader("json", TextLoader)
    return connection
