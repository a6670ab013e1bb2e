"""What the two processes of a run say to each other: calls and answers as `marshal`, each after its length."""

from __future__ import annotations

import marshal
import socket
import struct
from typing import Any

from towline_connectors.sinks.base import Batch, StreamState

LENGTH = struct.Struct("<Q")


def fields(state: StreamState) -> tuple[Any, ...]:
    """A state as a tuple."""
    return state.cursor, state.job, state.last_full_time, state.run_id, state.full_scan


def flat(batch: Batch) -> tuple[Any, ...]:
    """A batch as a tuple."""
    replacements = [(one.entity, one.field, one.key, one.keys) for one in batch.replacements]
    state = None if batch.state is None else fields(batch.state)
    return batch.stream, batch.seq, batch.rows, batch.tombstones, replacements, batch.rejected, state, batch.read


def put(end: socket.socket, message: Any) -> None:
    """Send all of it."""
    body = marshal.dumps(message)
    end.sendall(LENGTH.pack(len(body)))
    end.sendall(body)


def take(end: socket.socket, came: bytearray) -> Any:
    """The next message, which begins with what is in `came`. Raises EOFError when the other side is gone."""
    (length,) = LENGTH.unpack(_exactly(end, LENGTH.size, came))
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
