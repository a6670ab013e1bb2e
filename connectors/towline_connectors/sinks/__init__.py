"""Destinations. `open_sink` chooses one by its address and imports only that one's library."""

from __future__ import annotations

from towline_connectors.sinks.address import describe, is_lake, is_postgresql, sqlite_path
from towline_connectors.sinks.base import Sink

__all__ = ["describe", "open_sink"]


def open_sink(target: str) -> Sink:
    """The destination at a path, `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`,
    `parquet:///FOLDER` or `s3://KEY:SECRET@BUCKET/PREFIX?region=REGION&endpoint=URL`.

    Nothing is connected yet. Raises SinkError when the address is none of these.
    """
    if is_postgresql(target):
        from towline_connectors.sinks.postgresql import PostgresqlSink

        return PostgresqlSink(target)
    if is_lake(target):
        from towline_connectors.sinks.parquet import ParquetSink

        return ParquetSink(target)
    from towline_connectors.sinks.sqlite import SqliteSink

    return SqliteSink(sqlite_path(target))
