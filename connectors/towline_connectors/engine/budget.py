"""What one credential may ask of a vendor: rates in several windows, how many requests at once, and what the
vendor's own answers say is left."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase

from towline.api.base import seconds
from towline.api.http import Adaptive, Budget
from towline_connectors.engine import clock, waits
from towline_connectors.engine.errors import RateLimited

DEFAULT_CONCURRENCY = 4
DEFAULT_WINDOW = 60.0  # seconds, where a vendor counts what is left and does not say until when
SAME_WINDOW = 2.0  # seconds by which two answers of one window may name its end differently


class Limiter:
    """One budget. At most n requests begin within any window of each rate, m run at once."""

    def __init__(self, budget: Budget | None, now: Callable[[], float] | None = None) -> None:
        self._now = now or clock.monotonic
        self._rates: list[tuple[int, float, deque[float]]] = []
        for rate in (budget.rates or []) if budget else []:
            count, _, window = rate.partition("/")
            self._rates.append((max(1, int(count)), float(seconds(window)), deque()))
        self._running = asyncio.Semaphore((budget.concurrency if budget else None) or DEFAULT_CONCURRENCY)
        self._turn = asyncio.Lock()
        self._held_until = 0.0
        adaptive = budget.adaptive if budget else None
        self._told = _Told(adaptive, self._rates[0][1] if self._rates else DEFAULT_WINDOW) if adaptive else None

    def wait(self, cost: int = 1) -> float:
        """Seconds until a request of this weight may begin."""
        now = self._now()
        longest = self._held_until - now
        for count, window, begun in self._rates:
            while begun and begun[0] <= now - window:
                begun.popleft()
            weight = min(cost, count)  # what weighs more than a whole window takes a whole window
            if len(begun) + weight > count:
                longest = max(longest, begun[len(begun) + weight - count - 1] + window - now)
        if self._told is not None:
            longest = max(longest, self._told.wait(now))
        return max(longest, 0.0)

    @asynccontextmanager
    async def request(self, cost: int = 1, patience: float = float("inf")) -> AsyncIterator[None]:
        """Held while a request runs. Raises RateLimited when its turn comes later than `patience` seconds from now."""
        async with self._running:
            async with self._turn:
                end = self._now() + patience
                while (pause := self.wait(cost)) > 0:
                    if self._now() + pause > end:
                        raise RateLimited(
                            f"The budget of requests is used up for another {pause:.0f} s.", retry_after=pause
                        )
                    await asyncio.sleep(pause)
                now = self._now()
                for count, _window, begun in self._rates:
                    begun.extend([now] * min(cost, count))
                if self._told is not None:
                    self._told.begin(cost)
            try:
                yield
            finally:
                if self._told is not None:
                    self._told.end(cost)

    def hold(self, pause: float) -> None:
        """After a 429: nobody who shares this budget begins a request for so many seconds."""
        self._held_until = max(self._held_until, self._now() + pause)

    def learn(self, headers: Mapping[str, str], cost: int = 1) -> None:
        """What the answer to a request of this weight tells of the budget; called while the request is held."""
        if self._told is not None:
            self._told.learn(headers, self._now(), cost)


class _Told:
    """What the vendor's headers say. Requests that are under way are taken off what is left, since an answer
    knows nothing of them."""

    def __init__(self, adaptive: Adaptive, window: float) -> None:
        self._names = [
            (source or "").removeprefix("header:").lower()
            for source in (adaptive.limit, adaptive.remaining, adaptive.reset)
        ]
        self._keep = (adaptive.keep_percent or 0) / 100
        self._window = window
        self._limit: float | None = None
        self._left: float | None = None
        self._reset: float | None = None
        self._used = 0  # since the window began, for vendors that do not tell what is left
        self._running = 0

    def begin(self, cost: int) -> None:
        self._used += cost
        self._running += cost
        if self._left is not None:
            self._left -= cost

    def end(self, cost: int) -> None:
        self._running -= cost

    def learn(self, headers: Mapping[str, str], now: float, cost: int) -> None:
        others = self._running - cost
        limit, remaining = (_number(headers.get(name)) for name in self._names[:2])
        reset = waits.parse(headers.get(self._names[2]), clock.wall()) if self._names[2] else None
        if limit is not None:
            self._limit = limit
        ends = now + reset if reset is not None else None
        begun_anew = (ends is not None and (self._reset is None or ends > self._reset + SAME_WINDOW)) or (
            self._reset is not None and now >= self._reset
        )
        if begun_anew:
            self._used, self._left = self._running, None
        if ends is not None:
            self._reset = ends
        if remaining is not None:
            left = remaining - others
            self._left = left if self._left is None or ends is None else min(self._left, left)
            if ends is None:
                self._reset = now + self._window
        elif self._limit is not None and self._reset is not None and not self._names[1]:
            self._left = self._limit - self._used

    def wait(self, now: float) -> float:
        if self._left is None or self._reset is None:
            return 0.0
        if now >= self._reset:
            self._left, self._used = None, self._running
            return 0.0
        return self._reset - now if self._left <= self._keep * (self._limit or 0) else 0.0


def _number(value: str | None) -> float | None:
    """A header's number; some vendors write several, `100, 100;window=60`: the first counts."""
    if value is None:
        return None
    try:
        return float(value.split(",")[0].split(";")[0])
    except ValueError:
        return None


class Budgets:
    """The limiter of a request: the one whose match fits, else the stream's, else `default`, else the first."""

    def __init__(self, budgets: list[Budget] | None) -> None:
        self._specs = budgets or []
        self._limiters: dict[str, Limiter] = {}  # made when they are asked for: a probe needs one of many

    def limiter(self, method: str, path: str, wanted: str | None = None) -> Limiter:
        for budget in self._specs:
            rule = budget.match
            if rule is not None and fnmatchcase(path, rule.path or "*") and rule.method in (None, method):
                return self._of(budget)
        for budget in self._specs:
            if wanted is not None and budget.name == wanted:
                return self._of(budget)
        for budget in self._specs:
            if budget.name == "default" or budget.match is None:
                return self._of(budget)
        return self._of(None)

    def _of(self, budget: Budget | None) -> Limiter:
        name = budget.name if budget else ""
        found = self._limiters.get(name)
        if found is None:
            found = self._limiters[name] = Limiter(budget)
        return found
