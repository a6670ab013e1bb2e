"""The process that writes: it holds the session, answers calls until its socket closes, and maps when it has time."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from contextlib import suppress
from typing import Any

from towline.contract import RunResult, SyncIdentity
from towline_connectors.engine.errors import EngineError
from towline_connectors.engine.sharing import Held, Helper, before
from towline_connectors.engine.stream_map import StreamMap
from towline_connectors.engine.wire import fields, put, take
from towline_connectors.sinks.base import (
    AddressClosed,
    Batch,
    DeleteGuard,
    Replacement,
    Session,
    Sink,
    SinkError,
    StreamState,
    Superseded,
)

KEPT_REJECTED = 1_000  # rejected records of one batch that are kept; the rest is counted


def serve(sink: Sink, streams: dict[str, StreamMap], end: socket.socket) -> None:
    """Answer calls until the socket closes. Never returns."""
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
                name, arguments = take(end, nothing)
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
                    answer = True, (commit(session, helper, arguments), idle)
                else:
                    assert session is not None
                    answer = True, _perform(session, name, arguments)
            except Exception as error:
                answer = False, _described(error)
            put(end, answer)
    except BaseException as error:
        print(f"writer: {type(error).__name__}", file=sys.stderr)
    finally:
        if session is not None:
            with suppress(Exception):
                session.close()
        os._exit(code)


def commit(session: Session, helper: Helper, arguments: tuple[Any, ...]) -> tuple[int, int, int]:
    """Commit a batch with what was mapped here of it. `arguments`: wire.flat, and Held or None."""
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
        return {stream: fields(state) for stream, state in session.states().items()}
    if name == "finish":
        session.finish(RunResult.model_validate({**arguments[0], "received": arguments[1]}))
        return None
    session.close()
    return None


def _described(error: BaseException) -> tuple[Any, ...]:
    if isinstance(error, DeleteGuard):
        return "guard", str(error), error.percent, error.limit
    if isinstance(error, Superseded):
        return "superseded", str(error)
    if isinstance(error, AddressClosed):
        return "address", str(error)
    if isinstance(error, SinkError):
        return "sink", str(error), error.transient, error.full, error.in_doubt
    if isinstance(error, EngineError):
        return "answer", error.message, type(error).__name__
    return "bug", type(error).__name__
