"""One dead host must cost nothing to the others: after a few failures it is asked by one caller now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

FAILURES_UNTIL_OPEN = 5
_FIRST_PAUSE = 15.0
_MAX_PAUSE = 300.0
_AT_ONCE = 24
_AT_ONCE_FAILING = 8


@dataclass
class _Host:
    failures: int = 0
    open_until: float = 0.0
    pause: float = _FIRST_PAUSE
    message: str = ""
    running: int = 0


class Breakers:
    """Failures by host, over all Integrations that talk to it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._hosts: dict[str, _Host] = {}

    def busy(self, host: str) -> bool:
        """Whether so many calls to the host are under way that another one would hold up other hosts' calls."""
        found = self._hosts.get(host)
        return found is not None and found.running >= (_AT_ONCE_FAILING if found.failures else _AT_ONCE)

    def refuses(self, host: str) -> str:
        """Why the host is not asked now; empty if it is. Once the pause is over, the first caller may try."""
        found = self._hosts.get(host)
        if found is None or found.failures < FAILURES_UNTIL_OPEN:
            return ""
        now = self._clock()
        if now < found.open_until:
            return found.message
        found.open_until = now + found.pause  # the others wait for what this one finds
        return ""

    def begin(self, host: str) -> None:
        self._hosts.setdefault(host, _Host()).running += 1

    def end(self, host: str, failure: str) -> None:
        """A call has ended; `failure` is empty when the host answered, whatever it said."""
        found = self._hosts.setdefault(host, _Host())
        found.running = max(0, found.running - 1)
        if not failure:
            found.failures, found.pause, found.open_until = 0, _FIRST_PAUSE, 0.0
            if not found.running:
                del self._hosts[host]
            return
        found.failures += 1
        found.message = failure
        if found.failures >= FAILURES_UNTIL_OPEN:
            found.open_until = self._clock() + found.pause
            found.pause = min(found.pause * 2, _MAX_PAUSE)

    @property
    def open(self) -> int:
        """How many hosts are not asked at the moment."""
        now = self._clock()
        return sum(host.failures >= FAILURES_UNTIL_OPEN and now < host.open_until for host in self._hosts.values())
