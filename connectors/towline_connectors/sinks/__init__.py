"""Destinations. `open_sink` chooses one by its address and imports only that one's library."""

from __future__ import annotations

from towline_connectors.sinks.address import describe, is_lake, is_postgresql, sqlite_path
from towline_connectors.sinks.base import Sink
from towline_connectors.sinks.reach import Judge

__all__ = ["describe", "open_sink"]


def open_sink(target: str, judge: Judge | None = None) -> Sink:
    """The destination at a path, `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`,
    `parquet:///FOLDER` or `s3://KEY:SECRET@BUCKET/PREFIX?region=REGION&endpoint=URL`.

    `judge` decides over the addresses of hosts; without it all are open. Nothing is connected yet. Raises SinkError
    when the address is none of these.
    """
    if is_postgresql(target):
        from towline_connectors.sinks.postgresql import PostgresqlSink

        return PostgresqlSink(target, judge=judge)
    if is_lake(target):
        from towline_connectors.sinks.parquet import ParquetSink

        return ParquetSink(target, judge=judge)
    from towline_connectors.sinks.sqlite import SqliteSink

    return SqliteSink(sqlite_path(target))
