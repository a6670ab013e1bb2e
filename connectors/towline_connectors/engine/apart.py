"""The destination in a process of its own, so that writing and everything before it use two processors.

The child holds the session; batches go to it over a socket. It also maps records, when it has time (`sharing.py`). It
never touches the network to the vendor and ends when the socket closes: a parent that dies leaves committed batches
only.
"""

from __future__ import annotations

import gc
import marshal
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from towline.contract import RunResult, SyncIdentity
from towline_connectors.engine import serving, wire
from towline_connectors.engine.errors import SchemaMismatch, Unreachable
from towline_connectors.engine.sharing import Begin, Held, Mapped
from towline_connectors.engine.stream_map import StreamMap
from towline_connectors.sinks.base import (
    AddressClosed,
    Batch,
    DeleteGuard,
    Session,
    Sink,
    SinkError,
    StreamState,
    Superseded,
    Written,
)

_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")


def worthwhile() -> bool:
    """Whether this process may use more than one processor, and can make another of itself cheaply."""
    if sys.platform != "linux" or len(os.sched_getaffinity(0)) < 2:
        return False
    try:
        quota, period = _CPU_MAX.read_text().split()
        return quota == "max" or int(quota) >= 1.5 * int(period)
    except (OSError, ValueError):
        return True


class SinkApart:
    """A Sink whose session lives in a forked child. Make it before any thread is started."""

    def __init__(self, sink: Sink, streams: dict[str, StreamMap]) -> None:
        """`streams`, by name, are what the child can map."""
        here, there = socket.socketpair()
        for end in (here, there):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sys.stdout.flush()
        sys.stderr.flush()
        gc.freeze()  # a collection would write into each object, and so copy pages that both could share
        self._pid = os.fork()
        if self._pid == 0:
            here.close()
            serving.serve(sink, streams, there)
        there.close()
        self._socket = here
        self._inbox = bytearray()  # what came while something was sent
        self.waited = 0.0  # seconds, in all, for answers

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        return SessionApart(self, integration, connector, sync, pod_uid)

    def call(self, name: str, *arguments: Any) -> Any:
        self.send(name, *arguments)
        return self.receive()

    def send(self, name: str, *arguments: Any) -> None:
        body = marshal.dumps((name, arguments))
        try:
            self._push(wire.LENGTH.pack(len(body)))
            self._push(body)
        except (OSError, EOFError):
            raise _gone() from None

    def _push(self, body: bytes) -> None:
        """Send all; what comes meanwhile is kept, or both sides could wait for the other to read."""
        view = memoryview(body)
        while view:
            try:
                view = view[self._socket.send(view, socket.MSG_DONTWAIT) :]
                continue
            except BlockingIOError:
                readable, _, _ = select.select([self._socket], [self._socket], [])
            if readable:
                came = self._socket.recv(1 << 16)
                if not came:
                    raise EOFError
                self._inbox += came

    def receive(self) -> Any:
        """The answer to the oldest call that has none. Raises what the session raised."""
        begun = time.perf_counter()
        try:
            good, value = wire.take(self._socket, self._inbox)
        except (OSError, EOFError):
            raise _gone() from None
        self.waited += time.perf_counter() - begun
        if not good:
            raise _error(*value)
        return value

    def close(self) -> None:
        """End the child and wait for it."""
        if self._pid:
            self._socket.close()
            with suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0


class SessionApart:
    """See sinks.base.Session. `begin` commits without waiting: the next batch is mapped meanwhile."""

    def __init__(self, apart: SinkApart, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> None:
        self._apart = apart
        self.idle = 0.0  # seconds, in all, that the child waited for something to do
        apart.call("open", integration, connector, sync.model_dump(), pod_uid)

    def states(self) -> dict[str, StreamState]:
        return {name: StreamState(*fields) for name, fields in self._apart.call("states").items()}

    @property
    def waited(self) -> float:
        """Seconds, in all, that were spent waiting for the child."""
        return self._apart.waited

    def map(self, stream: str, begin: Begin | None, text: bytes, about: tuple[str, str]) -> None:
        """See sharing.Helper.map."""
        self._apart.send("map", stream, begin, text, about)

    def mapped(self) -> Mapped:
        return Mapped(*self._apart.receive())

    def begin(self, batch: Batch, held: Held | None = None) -> Callable[[], Written]:
        """Start a commit, which also takes what was mapped since the last; the result waits for its end. At most one
        may be under way, and no answer of `map`."""
        self._apart.send("commit", *wire.flat(batch), None if held is None else tuple(held))
        return self._committed

    def _committed(self) -> Written:
        written, self.idle = self._apart.receive()
        return Written(*written)

    def commit(self, batch: Batch) -> Written:
        return self.begin(batch)()

    def finish_scan(
        self, stream: str, entities: list[str], scan_id: str, state: StreamState, max_delete_percent: int | None
    ) -> Written:
        state_ = wire.fields(state)
        return Written(*self._apart.call("finish_scan", stream, entities, scan_id, state_, max_delete_percent))

    def finish(self, result: RunResult) -> None:
        self._apart.call("finish", result.model_dump(mode="json"), result.received)

    def close(self) -> None:
        with suppress(SinkError):
            self._apart.call("close")


def _gone() -> SinkError:
    text = "The process that writes to the destination ended unexpectedly; it may have run out of memory."
    return SinkError(text, in_doubt=True)


def _error(kind: str, text: str, *rest: Any) -> Exception:
    if kind == "guard":
        return DeleteGuard(text, percent=rest[0], limit=rest[1])
    if kind == "superseded":
        return Superseded(text)
    if kind == "address":
        return AddressClosed(text)
    if kind == "answer":
        return Unreachable(text) if rest[0] == Unreachable.__name__ else SchemaMismatch(text)
    if kind == "sink":
        return SinkError(text, transient=rest[0], full=rest[1], in_doubt=rest[2])
    return RuntimeError(f"the destination failed with {text}")
