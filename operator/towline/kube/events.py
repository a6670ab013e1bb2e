"""Kubernetes events about our objects: written in the background, repeated ones counted instead of repeated."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from towline.core import times
from towline.core.actions import Emit
from towline.kube.client import Client
from towline.kube.errors import ApiError, NotFoundError, RefusedError
from towline.kube.resources import EVENTS

log = logging.getLogger(__name__)
_WAITING = 2000
_REMEMBERED = 5000
_MAX_MESSAGE = 1000


@dataclass(frozen=True)
class _Entry:
    subject: dict[str, Any]
    namespace: str
    event: Emit
    at: datetime


@dataclass
class _Written:
    name: str
    count: int


class Recorder:
    """Writes events one after another. When too many wait, new ones are dropped: they are news, not state."""

    def __init__(self, client: Client, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._client = client
        self._clock = clock
        self._queue: asyncio.Queue[_Entry] = asyncio.Queue(_WAITING)
        self._written: OrderedDict[str, _Written] = OrderedDict()

    def emit(self, obj: dict[str, Any], event: Emit) -> None:
        """Note an event about an object."""
        meta = obj["metadata"]
        subject = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "name": meta["name"],
            "uid": meta["uid"],
            "resourceVersion": meta.get("resourceVersion", ""),
        }
        if meta.get("namespace"):
            subject["namespace"] = meta["namespace"]
        try:
            self._queue.put_nowait(_Entry(subject, meta.get("namespace") or "default", event, self._clock()))
        except asyncio.QueueFull:
            log.warning("Too many events wait to be written; one about %s was dropped", meta["name"])

    async def run(self) -> None:
        """Write events until cancelled."""
        while True:
            entry = await self._queue.get()
            try:
                await self._write(entry)
            except RefusedError as error:  # as in a namespace that is being deleted
                log.info("An event was refused: %s", error)
            except ApiError as error:
                log.warning("An event could not be written: %s", error)
            finally:
                self._queue.task_done()

    async def flush(self, seconds: float) -> None:
        """Wait until what is noted is written, at most this long."""
        try:
            await asyncio.wait_for(self._queue.join(), seconds)
        except TimeoutError:
            log.warning("Some events were not written before the end")

    async def _write(self, entry: _Entry) -> None:
        event, uid = entry.event, entry.subject["uid"]
        digest = hashlib.sha256(f"{uid}/{event.type}/{event.reason}/{event.message}".encode()).hexdigest()[:16]
        known = self._written.get(digest)
        if known is not None:
            known.count += 1
            change = {"count": known.count, "lastTimestamp": times.text(entry.at)}
            try:
                await self._client.merge(EVENTS, entry.namespace, known.name, change)
            except NotFoundError:  # events live for an hour
                del self._written[digest]
            else:
                self._written.move_to_end(digest)
                return
        name = f"{entry.subject['name'][:200]}.{digest[:8]}{int(entry.at.timestamp() * 1000):x}"
        await self._client.create(EVENTS, entry.namespace, _body(entry, name))
        self._written[digest] = _Written(name, 1)
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)


def _body(entry: _Entry, name: str) -> dict[str, Any]:
    moment = times.text(entry.at)
    message = entry.event.message
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": entry.namespace},
        "involvedObject": entry.subject,
        "type": entry.event.type,
        "reason": str(entry.event.reason),
        "message": message if len(message) <= _MAX_MESSAGE else message[: _MAX_MESSAGE - 1] + "…",
        "source": {"component": "towline"},
        "reportingComponent": "towline",
        "reportingInstance": "towline",
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
