"""Addresses of destinations: a path, `sqlite:///FILE`, `postgresql://USER:PASSWORD@HOST:PORT/DATABASE`,
`parquet:///FOLDER` or `s3://KEY:SECRET@BUCKET/PREFIX?region=REGION&endpoint=URL`."""

from __future__ import annotations

from urllib.parse import urlsplit

from towline_connectors.sinks.base import SinkError


def is_postgresql(target: str) -> bool:
    """Whether the address is a PostgreSQL URL."""
    return target.partition("://")[0].lower() in ("postgresql", "postgres") and "://" in target


def is_lake(target: str) -> bool:
    """Whether the address is one of Parquet files."""
    return target.partition("://")[0].lower() in ("parquet", "s3") and "://" in target


def lake_folder(target: str) -> str | None:
    """The folder of `parquet:///relative` or `parquet:////absolute`; None when the address is not of that kind."""
    scheme, _, rest = target.partition("://")
    if scheme.lower() != "parquet":
        return None
    if not rest.startswith("/") or len(rest) == 1:
        raise SinkError("The destination names no folder; write parquet:///FOLDER.", transient=False)
    return rest[1:]


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
            " sqlite:///FILE, postgresql://USER@HOST/DATABASE, parquet:///FOLDER or s3://BUCKET/PREFIX.",
            transient=False,
        )
    return rest[1:]


def describe(target: str) -> str:
    """The destination for people: never with a password."""
    if not is_postgresql(target) and not is_lake(target):
        return sqlite_path(target)
    folder = lake_folder(target)
    if folder is not None:
        return f"parquet:///{folder}"
    try:
        url = urlsplit(target)
        if is_lake(target):
            return f"s3://{url.hostname}{url.path}"
        user = f"{url.username}@" if url.username else ""
        port = f":{url.port}" if url.port else ""
        return f"postgresql://{user}{url.hostname or 'localhost'}{port}/{url.path.lstrip('/')}"
    except ValueError:
        return "The bucket" if is_lake(target) else "The PostgreSQL database"
