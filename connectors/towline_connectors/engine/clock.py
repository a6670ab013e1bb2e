"""The time of a run. Everything in the engine that waits or counts seconds asks here and sleeps by asyncio.

Both clocks follow the event loop's: a loop that skips waiting (`kit.clock`) then skips it everywhere, so that a
replay of an hour of polling and rate limits takes a moment and still takes the same decisions.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager


def monotonic() -> float:
    """Seconds that only grow: for pauses, deadlines, ages of tokens. Outside a loop time.monotonic()."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def wall() -> float:
    """Seconds since 1970, for what a vendor says in dates; moved on by all waiting that was skipped."""
    return time.time() + (monotonic() - time.monotonic())


@contextmanager
def at_work() -> Iterator[None]:
    """Around an exchange with a vendor: while it lasts, a loop that skips waiting has to wait for real."""
    hold = getattr(asyncio.get_running_loop(), "hold", None)
    if hold is None:
        yield
        return
    with hold():
        yield
