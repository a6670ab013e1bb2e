"""A writer in a process of its own, for tests that kill it: commits batches and tells each one it is sure of."""

from __future__ import annotations

import sys

from tests.unit.sinks.sinkdata import open_session, row

from towline_connectors.sinks.base import Batch, StreamState


def main(target: str, integration: str, first: int, count: int, size: int) -> None:
    session = open_session(target, pod=f"pod-{first}", integration=integration)
    for number in range(first, first + count):
        keys = [f"{number:05}-{place:04}" for place in range(size)]
        rows = [row("asset", key, hostname=f"host-{key}", raw={"pad": "x" * 400}) for key in keys]
        session.commit(Batch("assets", number + 1, rows={"asset": rows}, state=StreamState(cursor=str(number))))
        print(number, flush=True)
    session.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
