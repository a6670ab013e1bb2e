"""PostgreSQL destination: rows go in by binary COPY, in one transaction with their checkpoint.

Works behind a pooler in transaction mode: nothing but temporary tables, made when missing, outlives a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from typing import Any, Final

import orjson
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.string import TextLoader

from towline.contract import SyncIdentity
from towline_connectors.entities.model import Entity
from towline_connectors.sinks import postgresql_errors, schema, views
from towline_connectors.sinks.base import Session, SinkError
from towline_connectors.sinks.changes import Row, Seen, Stored, uids
from towline_connectors.sinks.records import utc_now
from towline_connectors.sinks.schema import literal, quote
from towline_connectors.sinks.session import SqlSession
from towline_connectors.sinks.store import ConnectionLost, Stamp, UnstorableText

CONNECT_SECONDS: Final = 10
MIGRATION_LOCK: Final = 0x746F776C696E65  # "towline", for pg_advisory_xact_lock
# A stopped or lost pod must not hold its claim's lock for ever; a waiting one gives up in time to be retried.
SETTINGS: Final = (
    "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = '10min';"
    " SET LOCAL idle_in_transaction_session_timeout = '60s'"
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

    def __init__(self, url: str, *, clock: Callable[[], str] = utc_now) -> None:
        self._url = url
        self._clock = clock

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        store = PostgresqlStore(self._url)
        try:
            return SqlSession.open(store, integration, connector, sync, pod_uid, self._clock())
        except BaseException:
            store.close()
            raise


class PostgresqlStore:
    """See sinks.store.Store."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._db = connect(url)

    def prepare(self, now: str) -> None:
        wanted = [schema.create_table(table, "postgresql") for table in schema.tables()]
        wanted += [view.sql("postgresql") for view in views.all_views()]
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
        for view in views.all_views():
            self._make_view(view)
        self.execute("INSERT INTO towline_schema VALUES (?, ?, ?)", (mark, schema.FORMAT, now))

    def _make_view(self, view: views.View) -> None:
        # Columns that a view has may not be moved, and a view that others stand on cannot be dropped: it then
        # stays as it is, which still is right.
        for attempt in (view.sql("postgresql"), f"DROP VIEW {quote(view.name)}; {view.sql('postgresql')}"):
            try:
                with self._db.transaction():
                    self._run(attempt)
            except (psycopg.errors.InvalidTableDefinition, psycopg.errors.DependentObjectsStillExist):
                continue
            return

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

    def insert(self, entity: Entity, stamp: Stamp, rows: list[Row]) -> None:
        now = datetime.fromisoformat(stamp.now)
        fixed = ("integration", "stream", "run_id", "first_seen_time", "last_seen_time", "modified_time", "uid")
        types = ("text", "text", "text", "time", "time", "time", "text")
        lead = (stamp.integration, stamp.stream, stamp.run_id, now, now, now)
        names = uids(entity, stamp.integration, rows)
        self._copy(
            quote(entity.table),
            (*fixed, *entity.columns),
            (*types, *_types(entity)),
            ((*lead, uid, *row) for uid, row in zip(names, _adapted(entity, rows), strict=True)),
        )

    def change(self, entity: Entity, stamp: Stamp, rows: list[Row]) -> None:
        table = quote(f"towline_new_{entity.table}")
        columns = entity.columns
        self._run(
            f"CREATE TEMP TABLE IF NOT EXISTS {table} ON COMMIT DELETE ROWS AS"
            f" SELECT {', '.join(map(quote, columns))} FROM {quote(entity.table)} WITH NO DATA"
        )
        self._copy(table, columns, _types(entity), _adapted(entity, rows))
        sets = [f"{quote(name)} = n.{quote(name)}" for name in columns if name != "source_key"]
        now = literal(stamp.now)
        sets += [f"stream = {literal(stamp.stream)}", f"run_id = {literal(stamp.run_id)}", "deleted_time = NULL"]
        sets += [f"last_seen_time = {now}", f"modified_time = {now}"]
        self._run(
            f"UPDATE {quote(entity.table)} t SET {', '.join(sets)} FROM {table} n"
            f" WHERE t.integration = {literal(stamp.integration)} AND t.source_key = n.source_key"
        )

    def see(self, entity: Entity, stamp: Stamp, rows: list[Seen]) -> None:
        self._run(
            f"UPDATE {quote(entity.table)} t SET last_seen_time = %s, run_id = %s, stream = %s, scan_id = n.scan_id,"
            " source_time = coalesce(n.source_time, t.source_time), raw = coalesce(n.raw::json, t.raw)"
            " FROM unnest(%s::text[], %s::timestamptz[], %s::text[], %s::text[]) n (key, source_time, scan_id, raw)"
            " WHERE t.integration = %s AND t.source_key = n.key",
            (
                stamp.now, stamp.run_id, stamp.stream,
                [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows],
                [None if row[3] is None else row[3].decode() for row in rows],
                stamp.integration,
            ),
        )  # fmt: skip

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
        self._db = connect(self._url)

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._db.close()

    def _copy(self, table: str, columns: tuple[str, ...], types: tuple[str, ...], rows: Iterator[Row]) -> None:
        sql = f"COPY {table} ({', '.join(map(quote, columns))}) FROM STDIN (FORMAT BINARY)"
        with self._db.cursor() as cursor, cursor.copy(sql) as copy:
            copy.set_types([COPY_TYPES[kind] for kind in types])
            for row in rows:
                copy.write_row(row)


def _adapted(entity: Entity, rows: list[Row]) -> Iterator[Row]:
    """Rows with times as such and JSON as bytes."""
    kinds = _types(entity)
    times = [place for place, kind in enumerate(kinds) if kind == "time"]
    jsons = [place for place, kind in enumerate(kinds) if kind == "json"]
    for row in rows:
        values = list(row)
        for place in times:
            if values[place] is not None:
                values[place] = datetime.fromisoformat(values[place])
        for place in jsons:
            if values[place] is not None and values[place].__class__ is not bytes:
                values[place] = orjson.dumps(values[place])
        yield tuple(values)


def _types(entity: Entity) -> tuple[str, ...]:
    return ("text", *(field.type for field in entity.fields), "time", "integer", "text", "json")


def connect(url: str, *, read_only: bool = False) -> psycopg.Connection[tuple[Any, ...]]:
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
    try:
        # No prepared statements: a pooler in transaction mode would lose them.
        connection = psycopg.connect(url, autocommit=True, prepare_threshold=None, **options)
    except psycopg.Error as error:
        raise postgresql_errors.describe_refusal(error, url) from None
    connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
    connection.read_only = read_only or None
    connection.adapters.register_loader("json", TextLoader)
    return connection
