"""A lake's present rows in a SQLite file for a while, so that people can look at them with the same views."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towline_connectors.sinks.base import SinkError
from towline_connectors.sinks.parquet import log, open_lake, require
from towline_connectors.sinks.records import utc_now


@contextmanager
def as_sqlite(target: str) -> Iterator[str]:
    """Path of a file with all integrations of the lake. Raises SinkError."""
    require()
    from towline_connectors.sinks.correlation import correlate
    from towline_connectors.sinks.parquet.working import WorkingStore

    objects = open_lake(target)
    with tempfile.TemporaryDirectory(prefix="towline-lake-") as folder:
        file = Path(folder) / "lake.db"
        store = WorkingStore(file)
        try:
            store.prepare(utc_now())
            found = list(log.integrations(objects))
            if not found:
                raise SinkError("The lake has no data of Towline; sync to it first.", transient=False)
            for integration in found:
                store.fill(objects, log.newest(objects, integration), Path(folder) / "part")
            correlate(store)
        finally:
            store.close()
            objects.close()
        yield str(file)
