"""Addresses of destinations: a path, `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`."""

from __future__ import annotations

from urllib.parse import urlsplit

from towline_connectors.sinks.base import SinkError


def is_postgresql(target: str) -> bool:
    """Whether the address is a PostgreSQL URL."""
    return target.partition("://")[0].lower() in ("postgresql", "postgres") and "://" in target


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
    try:
        url = urlsplit(target)
        user = f"{url.username}@" if url.username else ""
        port = f":{url.port}" if url.port else ""
        return f"postgresql://{user}{url.hostname or 'localhost'}{port}/{url.path.lstrip('/')}"
    except ValueError:
        return "The PostgreSQL database"
