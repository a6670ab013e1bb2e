"""A circuit breaker: a host that failed many times in a row is left alone for a while, then tried with one request."""

from __future__ import annotations

from towline.api.base import seconds
from towline.api.http import Breaker as Spec
from towline_connectors.engine import clock
from towline_connectors.engine.errors import Unreachable

DEFAULT_FAILURES = 10
DEFAULT_PAUSE = 30.0  # seconds


class Breaker:
    """One host's. Only failures that may pass count: no answer, 5xx; a refusal shows that the host works."""

    def __init__(self, host: str, spec: Spec | None) -> None:
        self._host = host
        self._most = (spec.failures if spec else None) or DEFAULT_FAILURES
        self._pause = float(seconds(spec.pause)) if spec and spec.pause else DEFAULT_PAUSE
        self._failures = 0
        self._open_until = 0.0
        self._trying = False

    def enter(self) -> None:
        """Before a request. Raises Unreachable while no request may be sent."""
        if self._failures < self._most:
            return
        rest = self._open_until - clock.monotonic()
        if rest > 0 or self._trying:
            raise Unreachable(
                f"{self._host} failed {self._failures} times in a row; no request is sent to it for now.",
                retry_after=max(rest, 1.0),
            )
        self._trying = True

    def leave(self, *, failed: bool | None) -> None:
        """After a request; None: it was broken off by us, and nothing is known."""
        self._trying = False
        if failed is None:
            return
        if not failed:
            self._failures = 0
            return
        self._failures += 1
        if self._failures >= self._most:
            self._open_until = clock.monotonic() + self._pause
