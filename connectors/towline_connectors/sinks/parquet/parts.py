"""Rows between SQLite, where a run works on them, and Parquet files."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from towline_connectors.sinks.schema import Table, quote

# Arrow's own allocator keeps what it was given once: 20 MiB more in a process that has little to do with it.
pa.set_memory_pool(pa.system_memory_pool())

COMMIT: Final = "towline_commit"  # column with the number of the head that made the row count
CHUNK: Final = 1_000  # rows in memory at once
ROW_GROUP: Final = 8_000  # more are read a little faster and are all in memory while they are written
_TYPES: Final = {
    "text": pa.string(),
    "integer": pa.int64(),
    "serial": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "time": pa.timestamp("ms", tz="UTC"),
    "texts": pa.list_(pa.string()),
    "json": pa.string(),
    "ref": pa.string(),
}


def schema_of(table: Table) -> pa.Schema:
    """The columns of the table's parts."""
    columns = [pa.field(name, _TYPES[kind]) for name, kind in table.columns]
    return pa.schema([*columns, pa.field(COMMIT, pa.int64())])


def write(table: Table, rows: Iterator[list[tuple[Any, ...]]], number: int, file: Path) -> int:
    """Write chunks of rows, in the order of the table's columns; how many."""
    schema = schema_of(table)
    written = 0
    held: list[pa.RecordBatch] = []
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:

        def put() -> None:
            if held:
                writer.write_table(pa.Table.from_batches(held, schema))
                held.clear()

        for chunk in rows:
            columns = zip(*chunk, strict=True)
            arrays = [_to_arrow(kind, column) for (_, kind), column in zip(table.columns, columns, strict=True)]
            arrays.append(pa.repeat(pa.scalar(number, pa.int64()), len(chunk)))
            held.append(pa.RecordBatch.from_arrays(arrays, schema=schema))
            written += len(chunk)
            if len(held) * CHUNK >= ROW_GROUP:
                put()
        put()
    return written


def _to_arrow(kind: str, values: tuple[Any, ...]) -> pa.Array:
    if kind == "time":
        return pa.array(values, pa.string()).cast(_TYPES["time"])
    if kind == "texts":
        return pa.array([None if value is None else orjson.loads(value) for value in values], _TYPES["texts"])
    if kind == "boolean":
        return pa.array([None if value is None else bool(value) for value in values], pa.bool_())
    return pa.array(values, _TYPES[kind])


def load(db: sqlite3.Connection, table: Table, file: Path) -> None:
    """Put a part's rows into SQLite, over what is there. A column that the part lacks is empty."""
    with pq.ParquetFile(file) as part:
        present = set(part.schema_arrow.names)
        columns = [(name, kind) for name, kind in table.columns if name in present]
        names = [name for name, _ in columns]
        sql = (
            f"INSERT OR REPLACE INTO {quote(table.name)} ({', '.join(map(quote, names))})"
            f" VALUES ({', '.join('?' * len(names))})"
        )
        for batch in part.iter_batches(CHUNK, columns=names):
            values = [_from_arrow(kind, batch.column(name)) for name, kind in columns]
            db.executemany(sql, zip(*values, strict=True))


def _from_arrow(kind: str, column: pa.Array) -> Iterable[Any]:
    if kind == "time":
        # By way of text without a zone, for which no database of time zones is needed.
        plain = column.cast(pa.timestamp("ms")).cast(pa.string())
        text = pc.binary_join_element_wise(pc.replace_substring(plain, " ", "T"), "Z", "")
        found: list[Any] = text.to_pylist()
        return found
    values: list[Any] = column.to_pylist()
    if kind == "texts":
        return [None if value is None else orjson.dumps(value).decode() for value in values]
    return values
