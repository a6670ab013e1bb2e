"""What is to be reconciled: each key once, one worker a key, failures later and later, and a heap of due times."""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from towline.kube.errors import ApiError, ConflictError

log = logging.getLogger(__name__)
_FIRST_BACKOFF = 1.0
_MAX_BACKOFF = 900.0
_CONFLICT_SECONDS = 0.1
_MAX_SLEEP = 15.0  # the clock of the machine may be set; due times are looked at this often whatever happens


class Key(NamedTuple):
    kind: str
    namespace: str
    name: str


Handler = Callable[[Key], Awaitable[datetime | None]]
"""Reconciles a key and returns when to look again although nothing changes."""


class WorkQueue:
    """Keys to reconcile. Not thread-safe: everything happens in one event loop."""

    def __init__(
        self,
        handler: Handler,
        workers: int,
        on_error: Callable[[Key, Exception], None] = lambda key, error: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._handler = handler
        self._workers = workers
        self._on_error = on_error
        self._clock = clock
        self._ready: deque[Key] = deque()
        self._queued: set[Key] = set()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
        self._work = asyncio.Event()
        self._earlier = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queued)

    @property
    def idle(self) -> bool:
        return not self._queued and not self._running

    def add(self, key: Key) -> None:
        """Reconcile soon. While a worker has the key, it comes again afterwards."""
        if key in self._running:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.append(key)
            self._work.set()

    def add_at(self, key: Key, moment: datetime) -> None:
        """Reconcile at a moment; replaces the moment that was set before."""
        self._due[key] = moment
        heapq.heappush(self._heap, (moment, key))
        if self._heap[0][1] == key:
            self._earlier.set()

    def forget(self, key: Key) -> None:
        """The object is gone: no due time, no back-off."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_clock())
            for _ in range(self._workers):
                group.create_task(self._work_on())

    async def _work_on(self) -> None:
        while True:
            while not self._ready:
                self._work.clear()
                await self._work.wait()
            key = self._ready.popleft()
            self._queued.discard(key)
            self._running.add(key)
            try:
                await self._reconcile(key)
            finally:
                self._running.discard(key)
                if key in self._again:
                    self._again.discard(key)
                    self.add(key)

    async def _reconcile(self, key: Key) -> None:
        try:
            again = await self._handler(key)
        except ConflictError:
            self.add_at(key, self._clock() + timedelta(seconds=_CONFLICT_SECONDS))
            return
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            wait = min(_FIRST_BACKOFF * 2 ** (failures - 1), _MAX_BACKOFF) * random.uniform(0.8, 1.2)  # noqa: S311
            self.add_at(key, self._clock() + timedelta(seconds=wait))
            self._on_error(key, error)
            what = str(error) if isinstance(error, ApiError) else f"{type(error).__name__} (an error of Towline)"
            log.warning("%s %s/%s: %s. Tries again in %.0f s", *key, what, wait, exc_info=_trace(error))
            return
        self._failures.pop(key, None)
        if again is not None:
            self.add_at(key, again)
        else:
            self._due.pop(key, None)

    async def _watch_clock(self) -> None:
        while True:
            self._earlier.clear()
            now = self._clock()
            while self._heap and self._heap[0][0] <= now:
                moment, key = heapq.heappop(self._heap)
                if self._due.get(key) == moment:
                    del self._due[key]
                    self.add(key)
            delay = min((self._heap[0][0] - now).total_seconds(), _MAX_SLEEP) if self._heap else _MAX_SLEEP
            try:
                await asyncio.wait_for(self._earlier.wait(), max(delay, 0.005))
            except TimeoutError:
                continue


def _trace(error: Exception) -> bool:
    """A traceback goes to the operator's log only, and only for what the operator did not foresee."""
    return not isinstance(error, ApiError)
