"""A loop that skips waiting."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from typing import Any

import pytest

from towline_connectors.engine import clock
from towline_connectors.kit.clock import SkippingLoop


def run(work: Any, loop: Any = SkippingLoop) -> Any:
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(work)


def test_hours_pass_in_order_without_being_waited_for() -> None:
    order: list[str] = []

    async def sleep(name: str, seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append(name)

    async def work() -> tuple[float, float]:
        begun, wall = clock.monotonic(), clock.wall()
        await asyncio.gather(sleep("day", 86400), sleep("minute", 60), sleep("hour", 3600))
        return clock.monotonic() - begun, clock.wall() - wall

    begun = time.monotonic()
    passed, wall = run(work())
    assert order == ["minute", "hour", "day"]
    assert (round(passed), round(wall)) == (86400, 86400)
    assert time.monotonic() - begun < 30


def test_nothing_is_skipped_while_a_thread_or_an_exchange_is_at_work() -> None:
    async def in_thread() -> None:
        async with asyncio.timeout(5):
            await asyncio.to_thread(time.sleep, 0.1)

    async def exchange() -> None:
        async with asyncio.timeout(5):
            with clock.at_work():
                done = asyncio.Event()
                asyncio.get_running_loop().add_reader(end, done.set)
                await done.wait()

    run(in_thread())
    end, other = os.pipe()
    threading.Timer(0.1, os.write, (other, b"x")).start()
    run(exchange())
    os.close(end)
    os.close(other)


def test_an_exchange_that_plays_dead_is_not_waited_for() -> None:
    async def work() -> None:
        with clock.at_work():
            await asyncio.wait_for(asyncio.Event().wait(), 3600)

    with pytest.raises(TimeoutError):
        run(work(), lambda: SkippingLoop(lambda: 1))
