"""The tables: names, columns and the DDL of both SQL destinations.

A table's shape follows from its entity. Migrations only add: tables, columns, indexes and views. Programs of
different versions may therefore write to the same destination at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from towline_connectors.entities import REGISTRY
from towline_connectors.entities.model import Entity
from towline_connectors.sinks.base import SinkError

Dialect = Literal["sqlite", "postgresql"]

FORMAT: Final = 1
"""Grows only when an older program could no longer write correctly; such a program then refuses to."""

TYPES: Final[dict[Dialect, dict[str, str]]] = {
    "sqlite": {
        "text": "TEXT",
        "integer": "INTEGER",
        "number": "REAL",
        "boolean": "BOOLEAN",
        "time": "TEXT",
        "texts": "TEXT",
        "json": "TEXT",
        "ref": "TEXT",
        "serial": "INTEGER PRIMARY KEY",
    },
    "postgresql": {
        "text": "text",
        "integer": "bigint",
        "number": "double precision",
        "boolean": "boolean",
        "time": "timestamptz",
        "texts": "text[]",
        "json": "json",
        "ref": "text",
        "serial": "bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
    },
}

# What every entity's table has beside the fields; the trailing part of a row stands among them.
_LEADING: Final = (("integration", "text"), ("source_key", "text"), ("uid", "text"), ("stream", "text"))
_TRAILING: Final = (
    ("source_time", "time"),
    ("first_seen_time", "time"),
    ("last_seen_time", "time"),
    ("modified_time", "time"),
    ("deleted_time", "time"),
    ("run_id", "text"),
    ("scan_id", "text"),
    ("content_hash", "integer"),
    ("raw", "json"),
)
_REQUIRED: Final = frozenset(
    {"integration", "source_key", "uid", "stream", "first_seen_time", "last_seen_time", "modified_time", "run_id"}
)


@dataclass(frozen=True, slots=True)
class Table:
    """`columns` are (name, type of ours); `required` ones refuse NULL."""

    name: str
    columns: tuple[tuple[str, str], ...]
    key: tuple[str, ...]
    required: frozenset[str] = frozenset()
    indexes: tuple[tuple[str, ...], ...] = ()


def quote(name: str) -> str:
    """An SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """An SQL string. NUL is dropped: neither destination can hold it in a literal."""
    return "'" + text.replace("\0", "").replace("'", "''") + "'"


def entity_table(entity: Entity) -> Table:
    """The table of an entity."""
    fields = tuple((field.column, field.type) for field in entity.fields)
    return Table(
        name=entity.table,
        columns=(*_LEADING, *fields, *_TRAILING),
        key=("integration", "source_key"),
        required=_REQUIRED,
        indexes=tuple(("integration", field.column) for field in entity.fields if field.indexed),
    )


_OWN: Final = (
    Table(
        "towline_schema", (("fingerprint", "text"), ("format", "integer"), ("migrated_time", "time")), ("fingerprint",)
    ),
    Table(
        "towline_claims",
        (
            ("integration", "text"),
            ("token", "text"),
            ("sync_uid", "text"),
            ("sync_name", "text"),
            ("created", "text"),
            ("attempt", "integer"),
            ("pod_uid", "text"),
            ("claimed_time", "time"),
        ),
        ("integration",),
    ),
    Table(
        "towline_runs",
        (
            ("sync_uid", "text"),
            ("attempt", "integer"),
            ("pod_uid", "text"),
            ("sync_name", "text"),
            ("integration", "text"),
            ("connector", "text"),
            ("started_time", "time"),
            ("finished_time", "time"),
            ("reason", "text"),
            ("message", "text"),
            ("read", "integer"),
            ("upserted", "integer"),
            ("deleted", "integer"),
            ("rejected", "integer"),
            ("streams", "json"),
            ("http", "json"),
        ),
        ("sync_uid", "attempt", "pod_uid"),
        indexes=(("integration", "started_time"),),
    ),
    Table(
        "towline_checkpoints",
        (
            ("integration", "text"),
            ("stream", "text"),
            ("cursor", "text"),
            ("job", "json"),
            ("last_full_time", "text"),
            ("run_id", "text"),
            ("full_scan", "text"),
            ("updated_time", "time"),
        ),
        ("integration", "stream"),
    ),
    Table(
        "towline_batches",
        (
            ("integration", "text"),
            ("stream", "text"),
            ("token", "text"),
            ("seq", "integer"),
            ("upserted", "integer"),
            ("deleted", "integer"),
            ("rejected", "integer"),
            ("committed_time", "time"),
        ),
        ("integration", "stream"),
    ),
    Table(
        "towline_rejected",
        (
            ("id", "serial"),
            ("integration", "text"),
            ("stream", "text"),
            ("source_key", "text"),
            ("reason", "text"),
            ("raw", "text"),
            ("run_id", "text"),
            ("time", "time"),
        ),
        (),
        indexes=(("integration", "stream", "id"),),
    ),
    # What happened, for whom it may concern: written once, see sinks.activity.
    Table(
        "towline_activity",
        (
            ("id", "text"),
            ("kind", "text"),
            ("time", "time"),
            ("finished_time", "time"),
            ("integration", "text"),
            ("connector", "text"),
            ("object", "text"),
            ("trigger", "text"),
            ("actor", "text"),
            ("outcome", "text"),
            ("message", "text"),
            ("records", "integer"),
            ("calls", "integer"),
            ("bytes", "integer"),
            ("correlation", "text"),
            ("detail", "json"),
            ("recorded_time", "time"),
            ("keep_until", "time"),
        ),
        ("integration", "id"),
        required=frozenset({"kind", "time", "object", "recorded_time", "keep_until"}),
        indexes=(("integration", "time"), ("keep_until",)),
    ),
    # Beside the assets, and never in them: see sinks.correlation.
    Table(
        "asset_links",
        (
            ("uid", "text"),
            ("other_uid", "text"),
            ("rule", "text"),
            ("value", "text"),
            ("confidence", "number"),
            ("linked_time", "time"),
        ),
        ("uid", "other_uid", "rule"),
    ),
    Table(
        "asset_identities",
        (
            ("uid", "text"),
            ("identity", "text"),
            ("rule", "text"),
            ("confidence", "number"),
            ("linked_time", "time"),
        ),
        ("uid",),
        indexes=(("identity",),),
    ),
)


def tables() -> tuple[Table, ...]:
    """All tables: Towline's own, then one an entity."""
    return (*_OWN, *(entity_table(entity) for entity in REGISTRY.values()))


def create_table(table: Table, dialect: Dialect) -> str:
    """CREATE TABLE IF NOT EXISTS."""
    types = TYPES[dialect]
    needed = table.required | set(table.key)
    lines = [f"{quote(name)} {types[kind]}{' NOT NULL' if name in needed else ''}" for name, kind in table.columns]
    if table.key:
        lines.append(f"PRIMARY KEY ({', '.join(map(quote, table.key))})")
    return f"CREATE TABLE IF NOT EXISTS {quote(table.name)} ({', '.join(lines)})"


def create_indexes(table: Table) -> list[str]:
    """CREATE INDEX IF NOT EXISTS of each index."""
    return [
        f"CREATE INDEX IF NOT EXISTS {quote('_'.join((table.name, *columns)))}"
        f" ON {quote(table.name)} ({', '.join(map(quote, columns))})"
        for columns in table.indexes
    ]


def add_columns(table: Table, present: Iterable[str], dialect: Dialect) -> list[str]:
    """ALTER TABLE for each column that the destination's table lacks."""
    have = set(present)
    guard = "IF NOT EXISTS " if dialect == "postgresql" else ""
    return [
        f"ALTER TABLE {quote(table.name)} ADD COLUMN {guard}{quote(name)} {TYPES[dialect][kind]}"
        for name, kind in table.columns
        if name not in have
    ]


def upsert(table: str, columns: tuple[str, ...]) -> str:
    """INSERT of one row into a table of Towline's own that overwrites these columns of the row with its key."""
    key = next(own.key for own in _OWN if own.name == table)
    sets = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in columns if name not in key)
    return (
        f"INSERT INTO {quote(table)} ({', '.join(map(quote, columns))}) VALUES ({', '.join('?' * len(columns))})"
        f" ON CONFLICT ({', '.join(map(quote, key))}) DO UPDATE SET {sets}"
    )


def guards(dialect: Dialect) -> list[str]:
    """What makes towline_activity a record: nobody changes a row, and nobody deletes one before its time.

    Each statement may be run again."""
    table = "towline_activity"
    changed = "towline_activity is a record: its rows are never changed"
    kept = "towline_activity is a record: its rows stay until their keep_until"
    if dialect == "sqlite":
        now = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')"
        return [
            f"CREATE TRIGGER IF NOT EXISTS {table}_unchanged BEFORE UPDATE ON {table}"
            f" BEGIN SELECT RAISE(ABORT, {literal(changed)}); END",
            f"CREATE TRIGGER IF NOT EXISTS {table}_kept BEFORE DELETE ON {table} WHEN old.keep_until > {now}"
            f" BEGIN SELECT RAISE(ABORT, {literal(kept)}); END",
        ]
    body = (
        "BEGIN IF TG_OP = 'DELETE' THEN IF OLD.keep_until <= clock_timestamp() THEN RETURN OLD; END IF;"
        f" RAISE EXCEPTION {literal(kept)}; END IF;"
        f" IF TG_OP = 'TRUNCATE' THEN RAISE EXCEPTION {literal(kept)}; END IF;"
        f" RAISE EXCEPTION {literal(changed)}; END"
    )
    return [
        f"CREATE OR REPLACE FUNCTION {table}_guard() RETURNS trigger LANGUAGE plpgsql AS $guard${body}$guard$",
        f"DROP TRIGGER IF EXISTS {table}_rows ON {table}",
        f"CREATE TRIGGER {table}_rows BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION {table}_guard()",
        f"DROP TRIGGER IF EXISTS {table}_whole ON {table}",
        f"CREATE TRIGGER {table}_whole BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION {table}_guard()",
    ]


def fingerprint(statements: Iterable[str]) -> str:
    """Identifies a shape, so that a program sees with one look whether its own was laid out already."""
    return hashlib.sha256("\n".join(statements).encode()).hexdigest()[:16]


def too_new(what: str, found: int) -> SinkError:
    """A destination that only a newer program can write."""
    return SinkError(
        f"{what} was written by a newer Towline (format {found}, this one knows {FORMAT}); upgrade this one or"
        " name another destination.",
        transient=False,
    )
