"""What one credential may ask of a vendor: rates in several windows, and how many requests at once."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase

from towline.api.base import seconds
from towline.api.http import Budget

DEFAULT_CONCURRENCY = 4


class Limiter:
    """One budget. At most n requests begin within any window of each rate, m run at once."""

    def __init__(self, budget: Budget | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rates: list[tuple[int, float, deque[float]]] = []
        for rate in (budget.rates or []) if budget else []:
            count, _, window = rate.partition("/")
            self._rates.append((max(1, int(count)), float(seconds(window)), deque()))
        self._running = asyncio.Semaphore((budget.concurrency if budget else None) or DEFAULT_CONCURRENCY)
        self._turn = asyncio.Lock()

    def wait(self) -> float:
        """Seconds until the next request may begin."""
        now = self._clock()
        longest = 0.0
        for count, window, begun in self._rates:
            while begun and begun[0] <= now - window:
                begun.popleft()
            if len(begun) >= count:
                longest = max(longest, begun[-count] + window - now)
        return longest

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Held while a request runs."""
        async with self._running:
            async with self._turn:
                while (pause := self.wait()) > 0:  # noqa: ASYNC110 - a window opens by time alone
                    await asyncio.sleep(pause)
                now = self._clock()
                for _count, _window, begun in self._rates:
                    begun.append(now)
            yield


class Budgets:
    """The limiter of a request: the one whose match fits, else the stream's, else `default`, else the first."""

    def __init__(self, budgets: list[Budget] | None) -> None:
        self._specs = budgets or []
        self._limiters = {budget.name: Limiter(budget) for budget in self._specs}
        self._unlimited = Limiter(None)

    def limiter(self, method: str, path: str, wanted: str | None = None) -> Limiter:
        for budget in self._specs:
            rule = budget.match
            if rule is not None and fnmatchcase(path, rule.path or "*") and rule.method in (None, method):
                return self._limiters[budget.name]
        if wanted in self._limiters:
            return self._limiters[wanted]
        for budget in self._specs:
            if budget.name == "default" or budget.match is None:
                return self._limiters[budget.name]
        return self._unlimited
