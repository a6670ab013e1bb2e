"""The work queue: each key once and by one worker, failures later, due times in order."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from towline.controller.queue import Key, Rest, WorkQueue
from towline.kube.errors import ConflictError

A, B = Key("Integration", "ns", "a"), Key("Integration", "ns", "b")


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
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
    queue = WorkQueue(handle, workers=1, on_error=lambda key, error, failures: told.append(key), clock=lambda: now)
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

    queue = WorkQueue(handle, workers=1, on_error=lambda key, error, failures: told.append(key))
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


def lanes(key: Key) -> str:
    return "start" if key.kind == "SyncJob" and key.name.startswith("new") else key.kind


def sync(name: str) -> Key:
    return Key("SyncJob", "ns", name)


async def test_a_start_does_not_wait_for_what_earlier_starts_have_still_to_tell() -> None:
    started: list[str] = []
    told: list[str] = []
    go = asyncio.Event()

    async def handle(key: Key) -> Rest:
        started.append(key.name)

        async def tell() -> None:
            await go.wait()
            told.append(key.name)

        return Rest(tell)

    queue = WorkQueue(handle, workers=1, lane=lanes, first="start")
    for number in range(3):
        queue.add(sync(f"new-{number}"))
    worker = asyncio.create_task(queue.run())
    await until(lambda: len(started) == 3)
    assert told == []
    go.set()
    await until(lambda: queue.idle)
    worker.cancel()
    assert told == started == ["new-0", "new-1", "new-2"]


async def test_nobody_else_has_a_key_until_its_rest_is_done_and_then_it_comes_again() -> None:
    steps: list[str] = []
    go = asyncio.Event()

    async def handle(_: Key) -> Rest | None:
        steps.append("begun")

        async def tell() -> None:
            await go.wait()
            steps.append("told")

        return Rest(tell) if len(steps) == 1 else None

    queue = WorkQueue(handle, workers=2, lane=lanes)
    queue.add(sync("new"))
    worker = asyncio.create_task(queue.run())
    await until(lambda: steps == ["begun"])
    queue.add(sync("new"))
    await asyncio.sleep(0.02)
    assert steps == ["begun"]
    go.set()
    await until(lambda: queue.idle and len(steps) == 3)
    worker.cancel()
    assert steps == ["begun", "told", "begun"]


async def test_a_rest_that_fails_is_an_error_of_its_key_like_any_other() -> None:
    told: list[Key] = []
    tries = 0

    async def handle(_: Key) -> Rest | None:
        nonlocal tries
        tries += 1

        async def fail() -> None:
            raise ConflictError("PATCH x", 409) if tries == 1 else ValueError("poison")

        return Rest(fail) if tries < 3 else None

    now = datetime(2026, 1, 1, tzinfo=UTC)
    queue = WorkQueue(handle, workers=1, on_error=lambda key, *_: told.append(key), clock=lambda: now, lane=lanes)
    queue.add(sync("new"))
    worker = asyncio.create_task(queue.run())
    await until(lambda: tries == 1 and queue.idle)
    now += timedelta(seconds=1)
    queue.add_at(B, now + timedelta(hours=1))  # wakes the clock
    queue.add_at(B, now)
    await until(lambda: tries >= 2 and told != [])
    worker.cancel()
    assert sync("new") in told


async def test_what_computes_without_ever_waiting_leaves_the_loop_to_others() -> None:
    handled = 0

    async def handle(_: Key) -> None:
        nonlocal handled
        handled += 1

    queue = WorkQueue(handle, workers=32)
    for number in range(1000):
        queue.add(Key("Integration", "ns", f"{number}"))
    worker = asyncio.create_task(queue.run())
    seen: list[int] = []
    while handled < 1000:
        seen.append(handled)
        await asyncio.sleep(0)
    worker.cancel()
    assert max(after - before for before, after in pairwise(seen)) <= 2, "keys in one turn of the loop"


async def test_while_many_wait_to_start_others_go_slowly_but_go() -> None:
    handled: list[str] = []
    slow = asyncio.Event()

    async def handle(key: Key) -> None:
        if key.kind == "SyncJob":
            await slow.wait()
        handled.append(key.kind)

    queue = WorkQueue(handle, workers=1, lane=lanes, first="start")
    for number in range(20):
        queue.add(sync(f"new-{number}"))
    for number in range(20):
        queue.add(Key("Integration", "ns", f"{number}"))
    worker = asyncio.create_task(queue.run())
    await until(lambda: len(handled) >= 1)
    assert handled == ["Integration"]
    slow.set()
    await until(lambda: queue.idle)
    worker.cancel()
    # Of those that only compute, all but a few come after the starts.
    assert handled[:15].count("SyncJob") >= 10
    assert (handled.count("SyncJob"), handled.count("Integration")) == (20, 20)
