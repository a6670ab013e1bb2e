"""What is to be reconciled: each key once, one worker a key, failures later and later, and a heap of due times.

Keys wait in lanes, each with workers of its own: ten thousand Integrations whose status is to be written do not stand
before a SyncJob that may start.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from towline.kube.errors import ApiError, ConflictError

log = logging.getLogger(__name__)
_FIRST_BACKOFF = 1.0
_MAX_BACKOFF = 900.0
_CONFLICT_SECONDS = 0.1
_CROWD = 8
_STEP_SECONDS = 0.25
_MAX_SLEEP = 15.0  # the clock of the machine may be set; due times are looked at this often whatever happens


class Key(NamedTuple):
    kind: str
    namespace: str
    name: str


Work = Callable[[], Awaitable["datetime | Rest | None"]]


@dataclass(frozen=True)
class Rest:
    """What a handler leaves to be done in the lane of the key's kind. Until then nobody else has the key."""

    work: Callable[[], Awaitable[datetime | None]]


Handler = Callable[[Key], Awaitable[datetime | Rest | None]]
"""Reconciles a key and returns when to look again although nothing changes, or what is left to do."""


class _Lane:
    """What waits: keys to reconcile, and rests of those that were begun elsewhere."""

    def __init__(self, crowded: Callable[[], bool]) -> None:
        """`crowded` tells whether many wait in a lane that goes before this one."""
        self.ready: deque[tuple[Key, Work | None]] = deque()
        self._crowded = crowded
        self._work = asyncio.Event()
        self._turn = asyncio.Lock()

    def put(self, key: Key, work: Work | None = None) -> None:
        self.ready.append((key, work))
        self._work.set()

    async def take(self) -> tuple[Key, Work | None]:
        async with self._turn:
            # One a turn of the loop and lane: what computes without ever waiting must not keep the loop from others.
            await asyncio.sleep(0)
            while not self.ready:
                self._work.clear()
                await self._work.wait()
            if self._crowded():  # at a walking pace meanwhile, but never standing still
                await asyncio.sleep(_STEP_SECONDS)
            return self.ready.popleft()


class WorkQueue:
    """Keys to reconcile. Not thread-safe: everything happens in one event loop."""

    def __init__(
        self,
        handler: Handler,
        workers: int,
        on_error: Callable[[Key, Exception, int], None] = lambda key, error, failures: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        lane: Callable[[Key], str] = lambda key: key.kind,
        first: str = "",
    ) -> None:
        """`workers`: of each lane. `lane` tells where a key waits for its first step; while many wait in the lane
        `first`, the others go slowly and leave the API server to it."""
        self._handler = handler
        self._workers = workers
        self._lane_of = lane
        self._first = first
        self._on_error = on_error
        self._clock = clock
        self._lanes: dict[str, _Lane] = {}
        self._group: asyncio.TaskGroup | None = None
        self._queued: set[Key] = set()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._failures: dict[Key, int] = {}
        self._due: dict[Key, datetime] = {}
        self._heap: list[tuple[datetime, Key]] = []
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
            self._lane(self._lane_of(key)).put(key)

    def add_at(self, key: Key, moment: datetime) -> None:
        """Reconcile at a moment; replaces the moment that was set before."""
        self._due[key] = moment
        heapq.heappush(self._heap, (moment, key))
        if len(self._heap) > 1000 + 2 * len(self._due):  # moments that were replaced
            self._heap = [(moment, key) for key, moment in self._due.items()]
            heapq.heapify(self._heap)
        if self._heap[0][1] == key:
            self._earlier.set()

    def forget(self, key: Key) -> None:
        """The object is gone: no due time, no back-off."""
        self._due.pop(key, None)
        self._failures.pop(key, None)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for lane in self._lanes.values():
                self._employ(group, lane)
            await self._watch_clock()

    def _lane(self, name: str) -> _Lane:
        lane = self._lanes.get(name)
        if lane is None:
            lane = self._lanes[name] = _Lane(self._crowd if name != self._first else lambda: False)
            if self._group is not None:
                self._employ(self._group, lane)
        return lane

    def _crowd(self) -> bool:
        first = self._lanes.get(self._first)
        return first is not None and len(first.ready) >= _CROWD

    def _employ(self, group: asyncio.TaskGroup, lane: _Lane) -> None:
        for _ in range(self._workers):
            group.create_task(self._work_on(lane))

    async def _work_on(self, lane: _Lane) -> None:
        while True:
            key, work = await lane.take()
            self._queued.discard(key)
            self._running.add(key)
            rest = None
            try:
                rest = await self._reconcile(key, work() if work else self._handler(key))
                own = self._lane(key.kind)
                if rest is not None and own is lane:
                    rest = await self._reconcile(key, rest.work())
            finally:
                if rest is None:
                    self._done(key)
            if rest is not None:
                own.put(key, rest.work)

    def _done(self, key: Key) -> None:
        self._running.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)

    async def _reconcile(self, key: Key, work: Awaitable[datetime | Rest | None]) -> Rest | None:
        try:
            again = await work
        except ConflictError:
            self.add_at(key, self._clock() + timedelta(seconds=_CONFLICT_SECONDS))
            return None
        except Exception as error:
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            wait = min(_FIRST_BACKOFF * 2 ** (failures - 1), _MAX_BACKOFF) * random.uniform(0.8, 1.2)  # noqa: S311
            self.add_at(key, self._clock() + timedelta(seconds=wait))
            self._on_error(key, error, failures)
            what = str(error) if isinstance(error, ApiError) else f"{type(error).__name__} (an error of Towline)"
            log.warning("%s %s/%s: %s. Tries again in %.0f s", *key, what, wait, exc_info=_trace(error))
            return None
        if isinstance(again, Rest):
            return again
        self._failures.pop(key, None)
        if again is not None:
            self.add_at(key, again)
        else:
            self._due.pop(key, None)
        return None

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
