"""Whom the operator probes, when, and what one dead host costs the others."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from tests.unit.controller.test_feed_and_parts import api_server
from tests.unit.core.build import NOW, around, integration, secret
from tests.unit.core.build import connector as acme

from towline.api.conditions import Reason
from towline.controller.audit import Audit
from towline.controller.breakers import FAILURES_UNTIL_OPEN, Breakers
from towline.controller.probes import Found, Prober, Target
from towline.controller.queue import Key
from towline.core import checks
from towline.core.expiry import Expiry
from towline.core.facts import RunSettings
from towline.core.health import State
from towline.core.times import text
from towline.core.validate import View, validate
from towline.metrics import Metrics

KEY = Key("Integration", "secops", "acme-prod")


@dataclass
class Hand:
    """Plays the systems, and notes what the prober asked and told."""

    prober: Prober
    now: datetime = NOW
    answers: list[Reason] = field(default_factory=list)
    expiries: list[Expiry] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    changed: list[Key] = field(default_factory=list)

    async def probe(self, target: Target, _: float) -> Found:
        self.targets.append(target)
        reason = self.answers.pop(0) if self.answers else Reason.REACHABLE
        return Found(reason, "" if reason is Reason.REACHABLE else f"it was {reason}", 0.05, tuple(self.expiries))

    async def turn(self, key: Key = KEY) -> datetime | None:
        """One turn of the prober's queue."""
        return await self.prober._work(key)

    def consider(self, key: Key = KEY, version: str = "s-1/1", refused: str = "", **spec: Any) -> None:
        """`refused`: the version of the credentials that a sync was refused with."""
        stalled = {"type": "Stalled", "status": "True", "reason": "CredentialsRejected", "message": ""}
        stalled["lastTransitionTime"] = text(NOW)
        status = {"conditions": [stalled], "credentials": {"observedVersion": refused}} if refused else None
        subject = integration(status, **spec)
        raw = subject.model_dump(mode="json", by_alias=True, exclude_none=True)
        raw["metadata"] |= {"uid": f"uid-{key.name}", "name": key.name}
        self.prober.consider(key, raw, subject, checked(version))


def checked(version: str, health: dict[str, Any] | None = None) -> View:
    made = acme(health=health or {"request": {"path": "/health"}, "every": "5m"})
    facts = around(connector=made, secrets={"acme-api": secret(version=version)})
    found = validate(integration(), "secops", "i-1", facts, RunSettings())
    assert isinstance(found, View)
    return found


@asynccontextmanager
async def hand() -> AsyncIterator[Hand]:
    async def handler(request: web.Request) -> web.Response:
        values = {"client_id": "id", "client_secret": "very-secret\n"}
        data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
        return web.json_response({"kind": "Secret", "metadata": {"uid": "u", "resourceVersion": "1"}, "data": data})

    async with api_server(handler) as client:
        made = Hand(prober=None)  # type: ignore[arg-type]  # the two know each other
        made.prober = Prober(client, Metrics(list, "1"), made.probe, made.changed.append, 300, clock=lambda: made.now)
        yield made


async def test_a_probe_gets_the_credentials_by_name_and_only_a_change_of_state_is_told() -> None:
    async with hand() as made:
        made.consider()
        again = await made.turn()
        assert made.targets[0].secrets == {"client_id": "id", "client_secret": "very-secret"}
        assert made.targets[0].plan.mode == "Check"
        assert made.changed == [KEY]
        assert again is not None
        assert NOW < again <= NOW + timedelta(minutes=5)
        for _ in range(5):
            await made.turn()
        assert made.changed == [KEY], "five more good answers are no news"
        track = made.prober.track(KEY)
        assert track is not None
        assert track.state is State.HEALTHY


async def test_a_change_of_outcome_is_told_even_where_the_state_stays() -> None:
    """Checks of the other outcome are over: the status has to keep them until a run records them."""
    async with hand() as made:
        audit = Audit()
        made.prober.heard = audit.checked
        made.answers = [Reason.REACHABLE, Reason.REACHABLE, Reason.UNREACHABLE, Reason.REACHABLE, Reason.REACHABLE]
        made.consider()
        for _ in range(5):
            await made.turn()
            made.now += timedelta(minutes=1)
        assert made.changed == [KEY] * 3, "good, bad, good again; the second of each is no news"
        kept = checks.status(audit.ledger(KEY, f"uid-{KEY.name}", None))
        assert kept is not None
        assert [(one["outcome"], one["count"]) for one in kept["unrecorded"]] == [("Reachable", 2), ("Unreachable", 1)]


async def test_credentials_that_a_sync_was_refused_with_are_not_probed_and_new_ones_are() -> None:
    async with hand() as made:
        made.consider(refused="s-1/1")  # as after a restart
        assert await made.turn() is None
        made.consider(version="s-1/2", refused="s-1/1")
        assert await made.turn() is not None
        assert len(made.targets) == 1
        track = made.prober.track(KEY)
        assert track is not None
        assert track.tested == "s-1/2"
        made.consider(version="s-1/2", refused="s-1/2")
        assert await made.turn() is None
        made.consider(version="s-1/2")  # somebody asked for a sync, and it was accepted
        assert await made.turn() is not None


async def test_rejected_credentials_are_tried_once_and_again_when_they_change() -> None:
    async with hand() as made:
        made.answers = [Reason.CREDENTIALS_REJECTED]
        made.consider()
        assert await made.turn() is None
        for _ in range(10):
            assert await made.turn() is None
        assert len(made.targets) == 1, "no lock-out at the vendor"
        refused = made.prober.track(KEY)
        assert refused is not None
        assert refused.refused == "s-1/1"
        made.consider(version="s-1/2")
        await made.turn()
        assert len(made.targets) == 2
        track = made.prober.track(KEY)
        assert track is not None
        assert not track.rejected


async def test_a_dead_host_is_asked_by_one_of_many_now_and_then() -> None:
    async with hand() as made:
        keys = [Key("Integration", "secops", f"acme-{number}") for number in range(100)]
        made.answers = [Reason.UNREACHABLE] * 1000
        for key in keys:
            made.consider(key)
        for _ in range(3):
            for key in keys:
                await made.turn(key)
        assert len(made.targets) == FAILURES_UNTIL_OPEN
        tracks = [made.prober.track(key) for key in keys]
        assert all(track is not None and track.state is State.DOWN for track in tracks), "all of them know"


async def test_who_waits_for_a_slow_host_is_let_on_as_soon_as_another_has_ended() -> None:
    async with hand() as made:
        go, running = asyncio.Event(), 0

        async def slow(target: Target, _: float) -> Found:
            nonlocal running
            running += 1
            made.targets.append(target)
            await go.wait()
            running -= 1
            return Found(Reason.REACHABLE, "", 0.05)

        made.prober._probe = slow
        names = [f"acme-{number}" for number in range(40)]
        for name in names:
            made.consider(Key("Integration", "secops", name))
        made.prober.forget(Key("Integration", "secops", "acme-30"))
        work = asyncio.create_task(made.prober.run())
        async with asyncio.timeout(60):
            while running < 24:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert running == 24
            go.set()  # the clock stands still: nobody comes again for the time that has passed
            while len(made.targets) < 39 or running:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        work.cancel()


async def test_who_waited_for_a_host_and_came_by_itself_is_not_let_on_again() -> None:
    async with hand() as made:
        made.consider()
        first = Key("Integration", "secops", "acme-first")
        made.consider(first)
        host = made.prober._watched[KEY].subject.host
        begun = 0
        while not made.prober.breakers.busy(host):
            made.prober.breakers.begin(host)
            begun += 1
        assert await made.turn() == made.now + timedelta(seconds=1)
        for _ in range(begun):
            made.prober.breakers.end(host, "")
        await made.turn()  # its second is over
        await made.turn(first)
        assert len(made.targets) == 2
        assert len(made.prober._queue) == 0, "a call that ends lets nobody on who was asked already"


async def test_probes_of_one_connector_share_its_parsed_manifest() -> None:
    async with hand() as made:
        made.consider()
        await made.turn()
        await made.turn()
        first, second = made.targets
        assert first.spec is second.spec
        assert first.plan.manifest == {}


async def test_who_is_suspended_or_has_no_health_call_is_not_probed() -> None:
    async with hand() as made:
        made.consider()
        made.consider(suspend=True)
        assert made.prober.track(KEY) is None
        assert await made.turn() is None
        assert made.targets == []


def test_a_host_that_answers_again_is_asked_by_all_again() -> None:
    now = [0.0]
    breakers = Breakers(lambda: now[0])
    for _ in range(FAILURES_UNTIL_OPEN):
        breakers.begin("a")
        breakers.end("a", "a is away.")
    assert breakers.refuses("a") == "a is away."
    assert breakers.open == 1
    assert not breakers.refuses("b")
    now[0] = 16.0
    assert not breakers.refuses("a"), "one may try"
    assert breakers.refuses("a"), "and only one"
    breakers.begin("a")
    breakers.end("a", "")
    assert not breakers.refuses("a")
    assert breakers.open == 0


@pytest.mark.parametrize(("failures", "most"), [(0, 24), (1, 8)])
def test_a_slow_host_holds_only_so_many_callers_and_a_failing_one_fewer(failures: int, most: int) -> None:
    breakers = Breakers()
    for _ in range(failures):
        breakers.begin("slow")
        breakers.end("slow", "slow does not answer.")
    for _ in range(most):
        assert not breakers.busy("slow")
        breakers.begin("slow")
    assert breakers.busy("slow")
    assert not breakers.busy("other")
    breakers.end("slow", "" if not failures else "slow does not answer.")
    assert not breakers.busy("slow")
