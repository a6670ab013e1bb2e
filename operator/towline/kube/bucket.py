"""A token bucket: so many requests a second, and a burst, whatever happens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Bucket:
    """`rate` tokens a second, at most `burst` saved up. Waiters are served in the order in which they came."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()

    async def take(self) -> None:
        """Wait for a token."""
        if delay := self.reserve():
            await asyncio.sleep(delay)

    def try_take(self) -> bool:
        """Take a token if one is there now."""
        if self.reserve() == 0.0:
            return True
        self._tokens += 1
        return False

    def reserve(self) -> float:
        """Take a token, perhaps one of the future; seconds until it is there."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        self._tokens -= 1
        return max(0.0, -self._tokens / self._rate)
