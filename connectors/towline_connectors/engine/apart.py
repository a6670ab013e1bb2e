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
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from towline.contract import RunResult, SyncIdentity
from towline_connectors.engine.mapping import StreamMap
from towline_connectors.engine.sharing import Held, Helper, Mapped, before
from towline_connectors.sinks.base import (
    Batch,
    DeleteGuard,
    Replacement,
    Session,
    Sink,
    SinkError,
    StreamState,
    Superseded,
    Written,
)

_LENGTH = struct.Struct("<Q")
_CPU_MAX = Path("/sys/fs/cgroup/cpu.max")
KEPT_REJECTED = 1_000  # rejected records of one batch that are kept; the rest is counted


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
            _serve(sink, streams, there)
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
            self._push(_LENGTH.pack(len(body)))
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
            good, value = _take(self._socket, self._inbox)
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

    def map(self, stream: str, begin: tuple[Any, str | None] | None, text: bytes) -> None:
        """See sharing.Helper.map."""
        self._apart.send("map", stream, begin, text)

    def mapped(self) -> Mapped:
        return Mapped(*self._apart.receive())

    def begin(self, batch: Batch, held: Held | None = None) -> Callable[[], Written]:
        """Start a commit, which also takes what was mapped since the last; the result waits for its end. At most one
        may be under way, and no answer of `map`."""
        self._apart.send("commit", *_flat(batch), None if held is None else tuple(held))
        return self._committed

    def _committed(self) -> Written:
        written, self.idle = self._apart.receive()
        return Written(*written)

    def commit(self, batch: Batch) -> Written:
        return self.begin(batch)()

    def finish_scan(
        self, stream: str, entities: list[str], scan_id: str, state: StreamState, max_delete_percent: int | None
    ) -> Written:
        return Written(*self._apart.call("finish_scan", stream, entities, scan_id, _fields(state), max_delete_percent))

    def finish(self, result: RunResult) -> None:
        self._apart.call("finish", result.model_dump(mode="json"), result.received)

    def close(self) -> None:
        with suppress(SinkError):
            self._apart.call("close")


def _fields(state: StreamState) -> tuple[Any, ...]:
    return state.cursor, state.job, state.last_full_time, state.run_id, state.full_scan


def _flat(batch: Batch) -> tuple[Any, ...]:
    replacements = [(one.entity, one.field, one.key, one.keys) for one in batch.replacements]
    state = None if batch.state is None else _fields(batch.state)
    return batch.stream, batch.seq, batch.rows, batch.tombstones, replacements, batch.rejected, state, batch.read


def _put(end: socket.socket, message: Any) -> None:
    body = marshal.dumps(message)
    end.sendall(_LENGTH.pack(len(body)))
    end.sendall(body)


def _take(end: socket.socket, came: bytearray) -> Any:
    (length,) = _LENGTH.unpack(_exactly(end, _LENGTH.size, came))
    return marshal.loads(_exactly(end, length, came))  # noqa: S302 - from our own other half


def _exactly(end: socket.socket, size: int, came: bytearray) -> bytearray:
    """So many bytes; those in `came` are the first."""
    body = bytearray(size)
    at = min(size, len(came))
    body[:at] = came[:at]
    del came[:at]
    view = memoryview(body)
    while at < size:
        got = end.recv_into(view[at:])
        if not got:
            raise EOFError
        at += got
    view.release()
    return body


def _gone() -> SinkError:
    return SinkError("The process that writes to the destination ended unexpectedly; it may have run out of memory.")


def _described(error: BaseException) -> tuple[Any, ...]:
    if isinstance(error, DeleteGuard):
        return "guard", str(error), error.percent, error.limit
    if isinstance(error, Superseded):
        return "superseded", str(error)
    if isinstance(error, SinkError):
        return "sink", str(error), error.transient, error.full
    return "bug", type(error).__name__


def _error(kind: str, text: str, *rest: Any) -> Exception:
    if kind == "guard":
        return DeleteGuard(text, percent=rest[0], limit=rest[1])
    if kind == "superseded":
        return Superseded(text)
    if kind == "sink":
        return SinkError(text, transient=rest[0], full=rest[1])
    return RuntimeError(f"the destination failed with {text}")


def _serve(sink: Sink, streams: dict[str, StreamMap], end: socket.socket) -> None:
    """The child: answer calls until the socket closes. Never returns."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides when to stop, and closes the socket
    code = 1
    session: Session | None = None
    helper = Helper(streams)
    nothing = bytearray()
    idle = 0.0
    try:
        while True:
            begun = time.perf_counter()
            try:
                name, arguments = _take(end, nothing)
            except (OSError, EOFError):
                code = 0
                break
            idle += time.perf_counter() - begun
            try:
                if name == "map":
                    answer: tuple[bool, Any] = True, tuple(helper.map(*arguments))
                elif name == "open":
                    integration, connector, sync, pod_uid = arguments
                    session = sink.open(integration, connector, SyncIdentity(**sync), pod_uid)
                    answer = True, None
                elif name == "commit":
                    assert session is not None
                    answer = True, (_commit(session, helper, arguments), idle)
                else:
                    assert session is not None
                    answer = True, _perform(session, name, arguments)
            except Exception as error:
                answer = False, _described(error)
            _put(end, answer)
    except BaseException as error:
        print(f"writer: {type(error).__name__}", file=sys.stderr)
    finally:
        if session is not None:
            with suppress(Exception):
                session.close()
        os._exit(code)


def _commit(session: Session, helper: Helper, arguments: tuple[Any, ...]) -> tuple[int, int, int]:
    stream, seq, rows, tombstones, replacements, rejected, state, read, held = arguments
    groups = [Replacement(*one) for one in replacements]
    if held is not None:
        outputs = helper.take(Held(*held))
        rows = before(outputs, rows)
        groups = [one for out in outputs for one in out.replacements] + groups
        rejected = [one for out in outputs for one in out.rejected] + rejected
    batch = Batch(stream, seq, rows, tombstones, groups, rejected[:KEPT_REJECTED], None, read)
    batch.state = None if state is None else StreamState(*state)
    written = session.commit(batch)
    return written.upserted, written.deleted, written.rejected


def _perform(session: Session, name: str, arguments: tuple[Any, ...]) -> Any:
    if name == "finish_scan":
        stream, entities, scan_id, state, limit = arguments
        written = session.finish_scan(stream, entities, scan_id, StreamState(*state), limit)
        return written.upserted, written.deleted, written.rejected
    if name == "states":
        return {stream: _fields(state) for stream, state in session.states().items()}
    if name == "finish":
        session.finish(RunResult.model_validate({**arguments[0], "received": arguments[1]}))
        return None
    session.close()
    return None
