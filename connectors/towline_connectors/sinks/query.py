"""Read-only look at a destination, for the command line: counts, and rows of an entity, table or view.

Names come from the registry and values are bound, so nothing that a person types becomes SQL.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote as url_quote

from towline_connectors.entities import REGISTRY, Entity
from towline_connectors.entities.model import Field
from towline_connectors.sinks import schema, views
from towline_connectors.sinks.address import describe, is_lake, is_postgresql, sqlite_path
from towline_connectors.sinks.base import SinkError
from towline_connectors.sinks.schema import Dialect, entity_table, quote

DEFAULT_LIMIT: Final = 100
Where = Iterable[tuple[str, str]]
_Run = Callable[[str, tuple[Any, ...]], "Rows"]


class QueryError(ValueError):
    """What was asked for does not exist; the text says what does."""


@dataclass(frozen=True, slots=True)
class Rows:
    columns: list[str]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Count:
    """Rows of one entity from one integration."""

    entity: str
    table: str
    integration: str
    live: int
    deleted: int


def tables(target: str) -> list[Count]:
    """How many rows each integration has of each entity. Raises SinkError."""
    found = []
    with _reading(target) as (run, _):
        for entity in REGISTRY.values():
            result = run(
                "SELECT integration, sum(CASE WHEN deleted_time IS NULL THEN 1 ELSE 0 END), count(deleted_time)"
                f" FROM {quote(entity.table)} GROUP BY integration ORDER BY integration",
                (),
            )
            found += [Count(entity.name, entity.table, name, live, gone) for name, live, gone in result.rows]
    return found


def names() -> dict[str, str]:
    """What `rows` can show: name to description."""
    shown = {entity.name: entity.description for entity in REGISTRY.values()}
    shown |= {view.name: view.description for view in views.all_views()}
    return shown | {table.name: "" for table in schema.tables()}


def rows(target: str, name: str, where: Where = (), *, limit: int = DEFAULT_LIMIT, with_deleted: bool = False) -> Rows:
    """Rows of an entity, by its name or its table's (live ones, unless `with_deleted`), or of a table or view.

    `where` are pairs of column and value, all of which must hold; the value of an enumeration may be its caption,
    that of a list is one of its items. Raises QueryError, SinkError.
    """
    relation, entity = _relation(name, with_deleted)

    with _reading(target) as (run, dialect):
        columns = run(f"SELECT * FROM {quote(relation)} LIMIT 0", ()).columns
        conditions, params = [], []
        for column, value in where:
            if column not in columns:
                close = get_close_matches(column, columns, n=1)
                meant = f"did you mean {close[0]}?" if close else f"it has {', '.join(columns)}."
                raise QueryError(f"{name} has no column {column}; {meant}")
            condition, param = _condition(column, value, _field(column, entity), dialect)
            conditions.append(condition)
            params.append(param)
        clause = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return run(f"SELECT * FROM {quote(relation)}{clause} LIMIT ?", (*params, max(0, limit)))


def activity(target: str, where: Where = (), *, since: str = "", limit: int = DEFAULT_LIMIT) -> Rows:
    """Records of activity, the newest first; `since` is ISO 8601. `where` as for `rows`, compared without regard to
    upper and lower case. Raises SinkError."""
    conditions, params = ["1 = 1"], list[Any]()
    if since:
        conditions.append("time >= ?")
        params.append(since)
    for column, value in where:
        conditions.append(f"lower({quote(column)}) = ?")
        params.append(value.lower())
    sql = f"SELECT * FROM towline_activity WHERE {' AND '.join(conditions)} ORDER BY time DESC, id LIMIT ?"
    with _reading(target) as (run, _):
        return run(sql, (*params, max(0, limit)))


def _relation(name: str, with_deleted: bool) -> tuple[str, Entity | None]:
    entity = next((one for one in REGISTRY.values() if name in (one.name, one.table)), None)
    if entity is not None:
        return (entity.table if with_deleted else views.live_view(entity.table)), entity
    known = names()
    if name in known:
        return name, next((one for one in REGISTRY.values() if views.live_view(one.table) == name), None)
    close = get_close_matches(name, sorted(known), n=1)
    entities = ", ".join(sorted(entity.name for entity in REGISTRY.values()))
    meant = f"did you mean {close[0]}?" if close else f"entities are {entities}."
    raise QueryError(f"There is no entity, table or view {name}; {meant}")


def _field(column: str, entity: Entity | None) -> Field | None:
    if entity is None:
        return None
    kind = dict(entity_table(entity).columns).get(column, "text")
    own = next((field for field in entity.fields if field.column == column), None)
    return own or Field(column, kind)  # type: ignore[arg-type]  # the table's types are the fields' types


def _condition(column: str, value: str, field: Field | None, dialect: Dialect) -> tuple[str, Any]:
    name, kind = quote(column), field.type if field else None
    if kind == "boolean":
        if value.lower() not in ("true", "false"):
            raise QueryError(f"{column} is true or false, not {value!r}.")
        return f"{name} = ?", value.lower() == "true"
    if kind in ("integer", "number") and field is not None:
        captions = {caption.lower(): number for number, caption in field.enum}
        if value.lower() in captions:
            return f"{name} = ?", captions[value.lower()]
        try:
            return f"{name} = ?", int(value) if kind == "integer" else float(value)
        except ValueError:
            known = f" or one of {', '.join(caption for _, caption in field.enum)}" if field.enum else ""
            raise QueryError(f"{column} takes a number{known}, not {value!r}.") from None
    if kind == "texts":
        item = "? = ANY({0})" if dialect == "postgresql" else "? IN (SELECT value FROM json_each({0}))"
        return item.format(name), value
    return f"CAST({name} AS text) = ?", value


@contextmanager
def _reading(target: str) -> Iterator[tuple[_Run, Dialect]]:
    if is_postgresql(target):
        with _reading_postgresql(target) as run:
            yield run, "postgresql"
    elif is_lake(target):
        from towline_connectors.sinks.parquet.reading import as_sqlite

        with as_sqlite(target) as file, _reading_sqlite(file) as run:
            yield run, "sqlite"
    else:
        with _reading_sqlite(sqlite_path(target)) as run:
            yield run, "sqlite"


def must_be_file(path: str) -> None:
    """Raises SinkError where a SQLite file is to be read and there is none."""
    if Path(path).is_dir():
        text = f"{path} is a folder; name the SQLite file in it, or a lake as parquet://{Path(path).absolute()}."
        raise SinkError(text, transient=False)
    if not Path(path).is_file():
        raise SinkError(f"There is no file {path}; sync first, or name the file that was synced to.", transient=False)


@contextmanager
def _reading_sqlite(path: str) -> Iterator[_Run]:
    from towline_connectors.sinks.sqlite import BUSY_SECONDS
    from towline_connectors.sinks.sqlite import describe as describe_error

    must_be_file(path)
    try:
        db = sqlite3.connect(f"file:{url_quote(path)}?{_reading_mode(path)}", uri=True, timeout=BUSY_SECONDS)
        try:
            db.execute("PRAGMA query_only = ON")

            def run(sql: str, params: tuple[Any, ...]) -> Rows:
                cursor = db.execute(sql, params)
                return Rows([column[0] for column in cursor.description], cursor.fetchall())

            yield run
        finally:
            db.close()
    except sqlite3.Error as error:
        if "no such table" in str(error):
            raise SinkError(f"{path} has no tables of Towline; sync to it first.", transient=False) from None
        raise describe_error(error, path, BUSY_SECONDS) from error


def _reading_mode(path: str) -> str:
    """SQLite makes two files beside one that is read, `-wal` and `-shm`. Who may write there takes them away again. Who
    may not can read along with a writer, who has made them, or else a file that nobody writes."""
    if os.access(path, os.W_OK) and os.access(Path(path).parent, os.W_OK):
        return "mode=rw"
    return "mode=ro" if Path(f"{path}-wal").exists() else "immutable=1"


@contextmanager
def _reading_postgresql(target: str) -> Iterator[_Run]:
    import psycopg

    from towline_connectors.sinks import postgresql_errors
    from towline_connectors.sinks.postgresql import connect

    db = connect(target, read_only=True)
    try:

        def run(sql: str, params: tuple[Any, ...]) -> Rows:
            cursor = db.execute(sql.replace("?", "%s"), params)
            return Rows([column.name for column in cursor.description or ()], cursor.fetchall())

        with db.transaction():
            yield run
    except psycopg.errors.UndefinedTable:
        raise SinkError(f"{describe(target)} has no tables of Towline; sync to it first.", transient=False) from None
    except psycopg.Error as error:
        raise postgresql_errors.describe(error, target) from error
    finally:
        db.close()
