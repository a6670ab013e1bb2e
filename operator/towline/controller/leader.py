"""Leader election, in a thread, loop and session of its own: a busy operator must not lose its Lease.

Any error counts as a failed renewal. A leader that could not renew in time ends its process at once instead of
asking its own tasks to stop: what hangs cannot obey. Every write is safe without the Lease too (names are locks,
status writes carry the version that they replace); the Lease keeps two operators from doing all work twice.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from towline.kube.access import Access
from towline.kube.client import Client
from towline.kube.errors import ApiError
from towline.kube.lease import LeaseLock, Timing

log = logging.getLogger(__name__)
_EXIT_LOST = 1


def elapsed() -> float:
    """Seconds that never go back and that count a machine's sleep, where the system can tell."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.clock_gettime(clock) if clock is not None else time.monotonic()


@dataclass(frozen=True)
class Election:
    """Where the Lease is and who asks for it. An empty `identity` switches the election off."""

    identity: str = ""
    namespace: str = "default"
    name: str = "towline-operator"
    timing: Timing = field(default_factory=Timing)


class Elector:
    """Holds the Lease or waits for it. `leading` is the fence: ask it before each write."""

    def __init__(
        self,
        election: Election,
        access: Access,
        on_lead: Callable[[], None],
        lag: Callable[[], float] = lambda: 0.0,
        die: Callable[[int], None] = os._exit,
        clock: Callable[[], float] = elapsed,
    ) -> None:
        """`on_lead` is called once, from the elector's thread. `lag` tells how late the main loop is, in seconds."""
        self._election = election
        self._access = access
        self._on_lead = on_lead
        self._lag = lag
        self._die = die
        self._clock = clock
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)
        self._watchdog = threading.Thread(target=self._watch, name="leader-watchdog", daemon=True)
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._held_at: float | None = None
        self._answered_at = clock()
        self.epoch = 0

    def start(self) -> None:
        self._thread.start()
        self._watchdog.start()

    @property
    def leading(self) -> bool:
        """Whether this process may write now: a Lease that has run out counts as lost before anyone says so."""
        held = self._held_at
        return held is not None and self._clock() - held < self._election.timing.duration

    @property
    def trouble(self) -> str:
        """Why this process could not take over when it had to; empty if it could."""
        if not self._thread.is_alive():
            return "the leader election has ended"
        silent = self._clock() - self._answered_at
        if silent > self._election.timing.duration:
            return f"the Lease could not be read for {silent:.0f} s"
        return ""

    def stop(self, seconds: float = 5.0) -> None:
        """Give the Lease back and end. Call it when nothing will be written any more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(seconds)
        self._ended.set()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            asyncio.run(self._elect())

    async def _elect(self) -> None:
        timing, election = self._election.timing, self._election
        # No repeats inside a request: a renewal that fails is tried again by this loop, in time for the deadline.
        async with Client(self._access, rate=10, burst=10, tries=1, timeout=timing.renew_deadline / 2) as client:
            lock = LeaseLock(client, election.namespace, election.name, election.identity, timing)
            told = ""
            while not self._stopping.is_set():
                asked = self._clock()
                try:
                    held = await lock.try_to_hold(asked)
                    self._answered_at = self._clock()
                    if held:
                        self._renewed(asked, lock.seen.epoch)
                    elif self._held_at is not None:
                        self._lost(f"{lock.seen.holder or 'someone else'} holds the Lease")
                    elif told != lock.seen.holder:
                        told = lock.seen.holder
                        log.info("Stand-by: %s leads", told)
                except (ApiError, OSError) as error:
                    log.warning("The Lease %s/%s: %s", election.namespace, election.name, error)
                await self._pause(timing.retry)
            if self._held_at is not None:
                with suppress(ApiError, OSError):
                    await lock.release(self._clock())
                self._held_at = None

    async def _pause(self, seconds: float) -> None:
        end = self._clock() + seconds
        while not self._stopping.is_set() and self._clock() < end:  # noqa: ASYNC110  the event is another thread's
            await asyncio.sleep(min(0.1, seconds))

    def _renewed(self, asked: float, epoch: int) -> None:
        first = self._held_at is None
        self._held_at, self.epoch = asked, epoch  # from before the request: the Lease may have been written then
        if first:
            log.info("Leading, epoch %d", epoch)
            self._on_lead()

    def _watch(self) -> None:
        """Ends the process when the deadline passes, whatever the other threads are busy with."""
        timing = self._election.timing
        while not self._ended.wait(min(0.5, timing.retry / 4)):
            held = self._held_at
            if held is None or self._stopping.is_set():
                continue
            late = self._clock() - held
            if late > timing.renew_deadline:
                self._lost(f"the Lease could not be renewed for {late:.0f} s")
            elif self._lag() > timing.renew_deadline:
                self._lost(f"the event loop is held up for {self._lag():.0f} s")

    def _lost(self, why: str) -> None:
        # Not a warning and a way out: a process that has lost its Lease must not write another byte.
        log.error("No longer leading: %s. The process ends and starts again as stand-by", why)
        self._held_at = None
        self._die(_EXIT_LOST)
