"""Destinations. `open_sink` chooses one by its address and imports only that one's library."""

from __future__ import annotations

from urllib.parse import urlsplit

from towline_connectors.sinks.base import Sink, SinkError

__all__ = ["describe", "open_sink", "sqlite_path"]

_POSTGRESQL = ("postgresql", "postgres")


def open_sink(target: str) -> Sink:
    """The destination at a path or `sqlite:///FILE`.

    Nothing is connected yet. Raises SinkError when the address is none of these.
    """
    from towline_connectors.sinks.sqlite import SqliteSink

    return SqliteSink(sqlite_path(target))


def is_postgresql(target: str) -> bool:
    """Whether the address is a PostgreSQL URL."""
    return target.partition("://")[0].lower() in _POSTGRESQL and "://" in target


def sqlite_path(target: str) -> str:
    """The file of `sqlite:///relative`, `sqlite:////absolute` or a plain path."""
    scheme, found, rest = target.partition("://")
    if not found:
        if not target:
            raise SinkError("The destination is empty; name a file or a postgresql:// URL.", transient=False)
        return target
    if scheme.lower() != "sqlite" or not rest.startswith("/") or len(rest) == 1:
        raise SinkError(
            f"The destination begins with {scheme}://, which Towline does not know; name a file,"
            " sqlite:///FILE or postgresql://USER@HOST/DATABASE.",
            transient=False,
        )
    return rest[1:]


def describe(target: str) -> str:
    """The destination for people: never with a password."""
    if not is_postgresql(target):
        return sqlite_path(target)
    url = urlsplit(target)
    user = f"{url.username}@" if url.username else ""
    host = url.hostname or "localhost"
    try:
        port = f":{url.port}" if url.port else ""
    except ValueError:
        port = ""
    return f"postgresql://{user}{host}{port}/{url.path.lstrip('/')}"
