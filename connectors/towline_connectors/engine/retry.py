"""Whether and when a request is sent once more."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass

from towline.api.base import seconds
from towline.api.http import HttpRetry
from towline_connectors.engine import clock
from towline_connectors.engine.errors import EngineError, RateLimited

DEFAULT_ATTEMPTS = 5
DEFAULT_MAX_ELAPSED = 900.0  # seconds
SPARE_SECONDS = 5.0  # a wait that ends later than this before the deadline is not begun


@dataclass(frozen=True, slots=True)
class Policy:
    """The manifest's `retry` with its defaults; times are seconds."""

    attempts: int
    max_elapsed: float
    initial: float
    cap: float
    jitter: bool

    @classmethod
    def of(cls, retry: HttpRetry | None) -> Policy:
        backoff = retry.backoff if retry else None
        return cls(
            attempts=(retry.attempts if retry else None) or DEFAULT_ATTEMPTS,
            max_elapsed=float(seconds(retry.max_elapsed)) if retry and retry.max_elapsed else DEFAULT_MAX_ELAPSED,
            initial=float(seconds(backoff.initial)) if backoff and backoff.initial else 1.0,
            cap=float(seconds(backoff.cap)) if backoff and backoff.cap else 60.0,
            jitter=not (backoff and backoff.jitter == "None"),
        )

    def pause(self, attempt: int) -> float:
        """Each ceiling is twice the last; with jitter any part of it, so that many runs do not return together."""
        ceiling: float = min(self.cap, self.initial * 2.0 ** (attempt - 1))
        return random.uniform(0, ceiling) if self.jitter else ceiling  # noqa: S311 - spreads load, guards nothing


class Patience:
    """That of one request. `deadline` is when the run has to have stopped."""

    def __init__(self, policy: Policy, deadline: float, progress: Callable[[str], None]) -> None:
        self._policy = policy
        self._deadline = deadline
        self._progress = progress
        self._begun = clock.monotonic()
        self._attempt = 0

    @property
    def left(self) -> float:
        """Seconds that may still be spent with waiting."""
        now = clock.monotonic()
        return min(self._begun + self._policy.max_elapsed, self._deadline - SPARE_SECONDS) - now

    async def wait(self, error: EngineError) -> None:
        """Sleep, or raise the error when waiting has no point."""
        self._attempt += 1
        told = error.retry_after is not None
        pause = error.retry_after if error.retry_after is not None else self._policy.pause(self._attempt)
        too_often = self._attempt >= self._policy.attempts and not (told and isinstance(error, RateLimited))
        if too_often or pause > self.left:
            error.retry_after = pause if told or isinstance(error, RateLimited) else None
            raise error
        when = f"in {pause:.0f} s" if pause >= 1 else "now"
        self._progress(f"{error.message} Trying again {when}.")
        await asyncio.sleep(pause)
