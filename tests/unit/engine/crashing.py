"""A destination whose process dies at a commit, for the engine's tests."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.unit.engine.plans import SECRETS

from towline.api.conditions import Reason
from towline.contract import RunResult, SyncIdentity
from towline_connectors.engine.run import run
from towline_connectors.sinks import open_sink
from towline_connectors.sinks.base import Batch, Session, Sink, StreamState, Written


class Killed(BaseException):
    """As if the process had died: nothing of the engine catches it."""


@dataclass
class Fragile:
    """A destination whose process dies at the n-th commit, before or after it was made."""

    inner: Sink
    left: int
    after: bool
    died: bool = False

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        return FragileSession(self, self.inner.open(integration, connector, sync, pod_uid))


class FragileSession:
    def __init__(self, sink: Fragile, inner: Session) -> None:
        self.sink, self.inner = sink, inner

    def _maybe(self, call: Any) -> Any:
        self.sink.left -= 1
        if self.sink.left:
            return call()
        if self.sink.after:
            call()
        self.sink.died = True
        raise Killed

    def states(self) -> dict[str, StreamState]:
        return self.inner.states()

    def commit(self, batch: Batch) -> Written:
        written: Written = self._maybe(lambda: self.inner.commit(batch))
        return written

    def finish_scan(self, *arguments: Any) -> Written:
        written: Written = self._maybe(lambda: self.inner.finish_scan(*arguments))
        return written

    def finish(self, result: RunResult) -> None:
        self.inner.finish(result)

    def close(self) -> None:
        self.inner.close()


def crash_and_resume(make: Any, database: Path, left: int, after: bool) -> bool:
    """Run until the crash, then the next attempt. Returns whether the crash came before the end."""
    fragile = Fragile(open_sink(str(database)), left, after)
    with suppress(Killed):
        run(make(1), SECRETS, fragile, pod_uid="pod-1")
    result = run(make(2), SECRETS, open_sink(str(database)), pod_uid="pod-2")
    assert result.reason is Reason.COMPLETED, result.message
    return fragile.died
