"""When a run has to stop: asked to by a person or a signal, or because its time is over."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from towline_connectors.engine import clock
from towline_connectors.engine.errors import DeadlineExceeded, Disrupted


class Stop:
    """Asks a run, from any thread or signal handler, to stop between batches."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self._listeners: list[Callable[[], None]] = []

    def request(self) -> None:
        self._asked.set()
        for listener in list(self._listeners):
            listener()

    @property
    def requested(self) -> bool:
        return self._asked.is_set()

    def listen(self, listener: Callable[[], None]) -> None:
        self._listeners.append(listener)
        if self.requested:
            listener()


class Halt:
    """Ends what is awaited when the run has to stop."""

    def __init__(self, stop: Stop, deadline: float) -> None:
        self._stop = stop
        self._deadline = deadline
        self._event = asyncio.Event()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is gone: the run has ended
                loop.call_soon_threadsafe(self._event.set)

        stop.listen(wake)

    def check(self) -> None:
        """Raises Disrupted or DeadlineExceeded when it is time."""
        if self._stop.requested:
            raise Disrupted("The run was asked to stop; what was committed stays, the next run goes on from there.")
        if clock.monotonic() >= self._deadline:
            raise DeadlineExceeded(
                "The run's time is over; what was committed stays, the next run goes on from there."
                " spec.job.activeDeadlineSeconds gives it more time"
            )

    async def guard(self, work: Any) -> Any:
        """Await `work`, but no longer than the run may last."""
        task = asyncio.ensure_future(work)
        waker = asyncio.ensure_future(self._event.wait())
        try:
            left = max(0.0, self._deadline - clock.monotonic())
            await asyncio.wait({task, waker}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            self.check()
            return await task
        finally:
            waker.cancel()
            if not task.done():
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
