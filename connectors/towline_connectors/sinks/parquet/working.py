"""The rows that a run works on: a SQLite file of its own, filled from the lake, which knows what was changed in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from towline_connectors.entities import REGISTRY
from towline_connectors.sinks import schema
from towline_connectors.sinks.parquet import log, parts
from towline_connectors.sinks.parquet.objects import Objects
from towline_connectors.sinks.schema import Table, quote
from towline_connectors.sinks.sqlite import SqliteStore

REJECTED: Final = "towline_rejected"
ACTIVITY: Final = "towline_activity"
KEPT_RUNS: Final = 100  # newest run records in a head
# Whose rows stand in the head itself; rejected records and activity have parts like an entity's.
_IN_HEAD: Final = ("towline_claims", "towline_checkpoints", "towline_batches", "towline_runs")


def lake_tables() -> dict[str, Table]:
    """Those with parts."""
    found = {table.name: table for table in schema.tables() if table.name in (REJECTED, ACTIVITY)}
    return found | {entity.table: schema.entity_table(entity) for entity in REGISTRY.values()}


class WorkingStore(SqliteStore):
    """See sinks.store.Store. The file is lost with the run: what counts is in the lake."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        with self._errors():
            self._db.execute("PRAGMA synchronous=OFF")

    def fill(self, objects: Objects, head: log.Head, scratch: Path) -> None:
        """Load an integration's state. `scratch` is a path for one part at a time."""
        known, own = lake_tables(), {table.name: table for table in schema.tables()}
        with self.transaction():
            for name in _IN_HEAD:
                columns = [column for column, _ in own[name].columns]
                places = ", ".join("?" * len(columns))
                for row in head.tables.get(name, []):
                    values = tuple(row.get(column) for column in columns)
                    self.execute(f"INSERT OR REPLACE INTO {quote(name)} VALUES ({places})", values)
            for part in head.parts:
                if part.table in known:  # else a newer version wrote it, and it stays as it is
                    objects.download(part.path, scratch)
                    parts.load(self._db, known[part.table], scratch)

    def watch(self) -> None:
        """From now on note each row that is written."""
        self.execute("CREATE TABLE towline_touched (tab TEXT, row INTEGER, PRIMARY KEY (tab, row)) WITHOUT ROWID")
        for name in lake_tables():
            note = f"INSERT OR IGNORE INTO towline_touched VALUES ({schema.literal(name)}, new.rowid)"
            for verb in ("INSERT", "UPDATE"):
                trigger = quote(f"{name}_{verb.lower()}")
                self.execute(f"CREATE TRIGGER {trigger} AFTER {verb} ON {quote(name)} BEGIN {note}; END")

    def touched(self) -> dict[str, int]:
        """How many rows of each table were written since `settled`."""
        return dict(self.fetch("SELECT tab, count(*) FROM towline_touched GROUP BY tab"))

    def settled(self) -> None:
        """What was touched is in the lake."""
        self.execute("DELETE FROM towline_touched")

    def chunks(self, table: Table, *, whole: bool) -> Iterator[list[tuple[Any, ...]]]:
        """Rows in the order of their keys: those touched, or all."""
        names = ", ".join(f"t.{quote(name)}" for name, _ in table.columns)
        touched = (
            "" if whole else f" JOIN towline_touched w ON w.tab = {schema.literal(table.name)} AND w.row = t.rowid"
        )
        order = ", ".join(f"t.{quote(name)}" for name in table.key or ("id",))
        with self._errors():
            cursor = self._db.execute(f"SELECT {names} FROM {quote(table.name)} t{touched} ORDER BY {order}")
            while chunk := cursor.fetchmany(parts.CHUNK):
                yield chunk

    def own_rows(self) -> dict[str, list[dict[str, Any]]]:
        """What a head holds of Towline's own tables."""
        found = {}
        for table in schema.tables():
            if table.name in _IN_HEAD:
                names = [name for name, _ in table.columns]
                latest = f" ORDER BY started_time DESC LIMIT {KEPT_RUNS}" if table.name == "towline_runs" else ""
                rows = self.fetch(f"SELECT {', '.join(map(quote, names))} FROM {quote(table.name)}{latest}")
                found[table.name] = [dict(zip(names, row, strict=True)) for row in rows]
        return found
