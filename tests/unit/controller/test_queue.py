"""The work queue: each key once and by one worker, failures later, due times in order."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from towline.controller.queue import Key, WorkQueue
from towline.kube.errors import ConflictError

A, B = Key("Integration", "ns", "a"), Key("Integration", "ns", "b")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def test_a_key_that_waits_is_there_once() -> None:
    seen: list[Key] = []

    async def handle(key: Key) -> None:
        seen.append(key)

    queue = WorkQueue(handle, workers=2)
    for _ in range(5):
        queue.add(A)
    queue.add(B)
    worker = asyncio.create_task(queue.run())
    await until(lambda: queue.idle and len(seen) >= 2)
    worker.cancel()
    assert sorted(seen) == [A, B]


async def test_a_key_is_never_handled_twice_at_once_and_comes_again_if_it_changed_meanwhile() -> None:
    running = most = done = 0
    go = asyncio.Event()

    async def handle(key: Key) -> None:
        nonlocal running, most, done
        running += 1
        most = max(most, running)
        await go.wait()
        running -= 1
        done += 1

    queue = WorkQueue(handle, workers=4)
    queue.add(A)
    worker = asyncio.create_task(queue.run())
    await until(lambda: running == 1)
    for _ in range(3):
        queue.add(A)
    go.set()
    await until(lambda: queue.idle and done == 2)
    worker.cancel()
    assert most == 1


async def test_one_failing_key_stops_nobody_else_and_comes_again() -> None:
    failures = 0
    handled: list[Key] = []

    async def handle(key: Key) -> None:
        nonlocal failures
        if key == A:
            failures += 1
            raise ValueError("poison")
        handled.append(key)

    told: list[Key] = []
    now = datetime(2026, 1, 1, tzinfo=UTC)
    queue = WorkQueue(handle, workers=1, on_error=lambda key, error: told.append(key), clock=lambda: now)
    queue.add(A)
    queue.add(B)
    worker = asyncio.create_task(queue.run())
    await until(lambda: handled == [B] and failures == 1)
    now += timedelta(seconds=2)
    queue.add_at(B, now + timedelta(hours=1))  # wakes the clock
    queue.add_at(B, now)
    await until(lambda: failures == 2)
    worker.cancel()
    assert told == [A, A]


async def test_a_conflict_is_tried_again_soon_and_is_no_failure() -> None:
    tries = 0
    told: list[Key] = []

    async def handle(key: Key) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise ConflictError("PATCH x", 409)

    queue = WorkQueue(handle, workers=1, on_error=lambda key, error: told.append(key))
    queue.add(A)
    worker = asyncio.create_task(queue.run())
    await until(lambda: tries == 2)
    worker.cancel()
    assert told == []


async def test_what_a_handler_returns_is_when_it_comes_again() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    times: list[datetime] = []

    async def handle(key: Key) -> datetime | None:
        times.append(now)
        return now + timedelta(minutes=5) if len(times) == 1 else None

    queue = WorkQueue(handle, workers=1, clock=lambda: now)
    queue.add(A)
    worker = asyncio.create_task(queue.run())
    await until(lambda: len(times) == 1 and queue.idle)
    now += timedelta(minutes=6)
    queue.add_at(B, now - timedelta(hours=1))  # wakes the clock
    await until(lambda: len(times) >= 3)
    worker.cancel()
    assert len(times) == 3, "once for A again, once for B"


async def test_a_forgotten_key_does_not_come_again() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    seen: list[Key] = []

    async def handle(key: Key) -> None:
        seen.append(key)

    queue = WorkQueue(handle, workers=1, clock=lambda: now)
    queue.add_at(A, now + timedelta(seconds=1))
    queue.forget(A)
    now += timedelta(seconds=2)
    queue.add_at(B, now)
    worker = asyncio.create_task(queue.run())
    await until(lambda: seen == [B])
    worker.cancel()


async def test_a_later_due_time_replaces_an_earlier_one() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    seen: list[Key] = []

    async def handle(key: Key) -> None:
        seen.append(key)

    queue = WorkQueue(handle, workers=1, clock=lambda: now)
    queue.add_at(A, now + timedelta(seconds=1))
    queue.add_at(A, now + timedelta(hours=1))
    now += timedelta(seconds=2)
    queue.add_at(B, now)
    worker = asyncio.create_task(queue.run())
    await until(lambda: seen == [B])
    worker.cancel()
