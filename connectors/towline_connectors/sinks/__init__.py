"""Destinations. `open_sink` chooses one by its address and imports only that one's library."""

from __future__ import annotations

from towline_connectors.sinks.address import describe, is_postgresql, sqlite_path
from towline_connectors.sinks.base import Sink

__all__ = ["describe", "open_sink"]


def open_sink(target: str) -> Sink:
    """The destination at a path, `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`.

    Nothing is connected yet. Raises SinkError when the address is none of these.
    """
    if is_postgresql(target):
        from towline_connectors.sinks.postgresql import PostgresqlSink

        return PostgresqlSink(target)
    from towline_connectors.sinks.sqlite import SqliteSink

    return SqliteSink(sqlite_path(target))
