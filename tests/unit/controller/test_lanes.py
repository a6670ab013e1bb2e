"""Which objects may start a run, so that no status that is to be written stands before them, and what they are told."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.controller.test_cache import obj, sync
from tests.unit.core.build import NOW

from towline.api.syncjob import SyncJob
from towline.controller.cache import Cache
from towline.controller.queue import Key
from towline.controller.reconcilers import START, lane_of
from towline.controller.settings import Settings
from towline.controller.snapshots import snapshot_of
from towline.core.slots import Request, Slots
from towline.core.times import text

SOON, DUE = text(NOW + timedelta(minutes=1)), text(NOW - timedelta(seconds=1))
ASKED = {"annotations": {"towline.dev/requested-at": "now"}}


def lane(kind: str, raw: dict[str, Any]) -> str:
    cache = Cache()
    cache.put(kind, raw)
    return lane_of(cache, NOW, Key(kind, "ns", raw["metadata"]["name"]))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, START),
        ({"queuePosition": 7}, START),
        ({"attempts": 1}, "SyncJob"),
        ({"attempts": 1, "nextAttemptTime": DUE}, START),
        ({"attempts": 1, "completionTime": DUE}, "SyncJob"),
    ],
)
def test_a_syncjob_may_start_until_an_attempt_of_it_runs_or_it_has_ended(status: dict[str, Any], expected: str) -> None:
    assert lane("SyncJob", sync("s", 1, status=status)) == expected


@pytest.mark.parametrize(
    ("meta", "status", "expected"),
    [
        ({}, {}, "Integration"),
        ({}, {"nextScheduleTime": SOON}, "Integration"),
        ({}, {"nextScheduleTime": DUE}, START),
        ({}, {"nextScheduleTime": 5}, "Integration"),
        (ASKED, {}, START),
        (ASKED, {"lastHandledRequestedAt": "now"}, "Integration"),
    ],
)
def test_an_integration_starts_a_run_when_it_is_due_or_asked(
    meta: dict[str, Any], status: dict[str, Any], expected: str
) -> None:
    assert lane("Integration", obj("i", 1, metadata=meta, status=status)) == expected


def test_what_is_gone_or_of_another_kind_starts_nothing() -> None:
    assert lane_of(Cache(), NOW, Key("SyncJob", "ns", "gone")) == "SyncJob"
    assert lane("Connector", obj("c", 1)) == "Connector"


async def test_a_run_whose_job_exists_goes_first_although_its_status_does_not_say_so_yet() -> None:
    cache, slots = Cache(), Slots(10)
    for name in ("later", "a-namesake-before-it"):
        made = sync(name, 1)
        made["metadata"]["creationTimestamp"] = text(NOW)
        cache.put("SyncJob", made)
    slots.hold(Key("SyncJob", "ns", "later"))
    parts = {"cache": cache, "slots": slots, "settings": Settings(), "progress": {}, "queue_told": {}}
    context: Any = SimpleNamespace(**parts, clock=lambda: NOW)
    ahead = {}
    for name in ("later", "a-namesake-before-it"):
        raw = cache.get("SyncJob", "ns", name) or {}
        found = await snapshot_of(context, Key("SyncJob", "ns", name), raw, SyncJob.model_validate(raw))
        ahead[name] = found.ahead
    assert ahead == {"later": "", "a-namesake-before-it": "later"}


async def test_who_waits_is_given_its_place_until_it_was_told_and_then_now_and_then() -> None:
    cache, slots, told = Cache(), Slots(1), dict[Key, datetime]()
    cache.put("SyncJob", sync("waits", 1))
    key = Key("SyncJob", "ns", "waits")
    slots.hold(Key("SyncJob", "ns", "runs"))
    assert not slots.ask(Request(key, "group", 0))
    parts = {"cache": cache, "slots": slots, "settings": Settings(), "progress": {}, "queue_told": told}

    async def position(now: datetime) -> int | None:
        context: Any = SimpleNamespace(**parts, clock=lambda: now)
        raw = cache.get(*key) or {}
        found = (await snapshot_of(context, key, raw, SyncJob.model_validate(raw))).place
        return found.position if found else None

    assert [await position(NOW), await position(NOW)] == [1, 1], "to look is not to tell"
    told[key] = NOW
    assert await position(NOW + timedelta(seconds=5)) is None
    assert await position(NOW + timedelta(seconds=30)) == 1
