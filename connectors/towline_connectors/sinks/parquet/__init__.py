"""Parquet in a folder or an S3-compatible store: data files first, then one object that makes them count.

Nothing here imports pyarrow before a session or a look at the rows begins.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from towline.contract import SyncIdentity
from towline_connectors.sinks.address import lake_folder
from towline_connectors.sinks.base import Session, SinkError
from towline_connectors.sinks.parquet.objects import Folder, Objects
from towline_connectors.sinks.reach import Judge
from towline_connectors.sinks.records import utc_now


def open_lake(target: str, judge: Judge | None = None) -> Objects:
    """The store at `parquet:///FOLDER` or `s3://BUCKET/PREFIX`. Raises SinkError when the address is none."""
    folder = lake_folder(target)
    if folder is not None:
        return Folder(folder)
    from towline_connectors.sinks.parquet import s3

    return s3.S3(s3.parse(target), judge)


def require() -> None:
    """Raise SinkError when the library that writes Parquet is not installed."""
    if find_spec("pyarrow") is None:
        raise SinkError(
            "Writing Parquet needs pyarrow, which this installation lacks: pip install 'towline[parquet]', in an"
            " image of your own where it runs in a cluster.",
            transient=False,
        )


class ParquetSink:
    """See sinks.base.Sink. pyarrow, which starts threads, is imported by `open` only: in the process that writes."""

    def __init__(self, target: str, *, clock: Callable[[], str] = utc_now, judge: Judge | None = None) -> None:
        require()
        open_lake(target).close()  # what is wrong with the address shall be told now
        self._target = target
        self._judge = judge
        self._clock = clock

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        from towline_connectors.sinks.parquet.log import place
        from towline_connectors.sinks.parquet.session import open_session

        place(integration)
        objects = open_lake(self._target, self._judge)
        try:
            return open_session(objects, integration, connector, sync, pod_uid, self._clock())
        except BaseException:
            objects.close()
            raise
