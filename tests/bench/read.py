"""The engine's reading alone: pages to mapped rows, which go nowhere.

`python -m tests.bench.read URL RECORDS` prints the seconds.
"""

from __future__ import annotations

import sys
import time

from tests.bench.sync import plan

from towline.contract import RunResult, SyncIdentity
from towline_connectors.engine import http_source  # noqa: F401 - imports are not timed, here as in the peers
from towline_connectors.engine.run import run
from towline_connectors.sinks.base import Batch, Session, StreamState, Written


class Nowhere:
    """A destination that counts rows and forgets them; see sinks.base.Sink and Session."""

    def __init__(self) -> None:
        self.rows = 0

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        return self

    def states(self) -> dict[str, StreamState]:
        return {}

    def commit(self, batch: Batch) -> Written:
        self.rows += sum(map(len, batch.rows.values()))
        return Written()

    def finish_scan(
        self, stream: str, entities: list[str], scan_id: str, state: StreamState, max_delete_percent: int | None
    ) -> Written:
        return Written()

    def finish(self, result: RunResult) -> None: ...

    def close(self) -> None: ...


def main(url: str, records: int) -> None:
    sink = Nowhere()
    begun = time.perf_counter()
    result = run(plan(url), {"token": "t"}, sink)
    seconds = time.perf_counter() - begun
    assert result.reason == "Completed", result.message
    assert result.streams[0].read == records, result.streams
    assert sink.rows >= records
    print(seconds)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
