"""An event loop that skips waiting: an hour of polling takes a moment, in the same order.

Time is skipped only when nothing real is under way: no exchange with a vendor (`engine.clock.at_work`), no work in a
thread. The clock is the real one plus what was skipped, so it never stands still and never runs backwards.
"""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any

_GLANCE = 0.005  # seconds of real waiting between two looks whether the work that forbids skipping has ended


class SkippingLoop(asyncio.SelectorEventLoop):
    """`stalled` counts the exchanges, since the beginning, that a server left without an answer: these are not waited
    for. It takes one exchange at a time to tell which one that is."""

    def __init__(self, stalled: Callable[[], int] = lambda: 0) -> None:
        self.skipped = 0.0  # seconds, so far
        self._stalled = stalled
        self._held = 0
        self._given_up = 0  # of the stalled exchanges, those that have ended
        super().__init__(_Selector(self))

    def time(self) -> float:
        return super().time() + self.skipped

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Forbid skipping for as long as this lasts."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self._given_up = self._stalled()

    def idle(self) -> bool:
        return self._held - (self._stalled() - self._given_up) <= 0

    def run_in_executor(self, executor: Executor | None, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        future: asyncio.Future[Any] = super().run_in_executor(executor, func, *args)
        self._held += 1

        def ended(_future: asyncio.Future[Any]) -> None:
            self._held -= 1

        future.add_done_callback(ended)
        return future

    async def shutdown_default_executor(self, *args: Any) -> None:
        with self.hold():
            await super().shutdown_default_executor(*args)


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: SkippingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if ready:
            return ready
        if self._loop.idle():
            self._loop.skipped += timeout
            return []
        return super().select(min(timeout, _GLANCE))
