"""The operator's door for reports: who gets in, how often, and that nobody can flood the API server through it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from tests.unit.controller.test_feed_and_parts import api_server
from tests.unit.core.build import NOW, connector, integration
from tests.unit.core.test_progress import pod, review

from towline.contract import MAX_REPORT_BYTES
from towline.controller.cache import Cache
from towline.controller.progress import PATH, Reports
from towline.controller.queue import Key
from towline.metrics import Metrics

KEY = Key("SyncJob", "secops", "acme-prod-m-1")


@dataclass
class Door:
    http: TestClient[Any, Any]
    context: Any
    asked: list[dict[str, Any]]
    now: list[float]
    leads: list[bool]
    woken: list[Key] = field(default_factory=list)

    async def tell(self, token: str = "good", read: int = 7, **changes: Any) -> int:
        told = {"sync_uid": "s-1", "attempt": 1, "stream": "hosts", "streams": [{"name": "hosts", "read": read}]}
        headers = {"Authorization": f"Bearer {token}"}
        async with self.http.post(PATH, json={**told, **changes}, headers=headers) as answer:
            return answer.status


@asynccontextmanager
async def door() -> AsyncIterator[Door]:
    asked: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        body = await request.json()
        asked.append(body)
        good = body["spec"]["token"].startswith("good")
        return web.json_response({**body, **(review() if good else {"status": {"authenticated": False}})}, status=201)

    cache = Cache()
    meta = {"namespace": "secops", "resourceVersion": "1"}
    subject = integration().model_dump(mode="json", by_alias=True, exclude_none=True)
    subject["metadata"] |= meta
    cache.put("Integration", subject)
    made = connector().model_dump(mode="json", by_alias=True, exclude_none=True)
    made["metadata"]["resourceVersion"] = "1"
    cache.put("Connector", made)
    spec = {"integrationRef": {"name": "acme-prod"}}
    run = {"metadata": {"name": KEY.name, "uid": "s-1", **meta}, "spec": spec, "status": {"attempts": 1}}
    cache.put("SyncJob", run)
    labels = {"app.kubernetes.io/managed-by": "towline", "towline.dev/sync": KEY.name}
    job = {"name": f"{KEY.name}-1", "uid": "j-1", "labels": labels, "ownerReferences": [{"uid": "s-1"}], **meta}
    cache.put("Job", {"metadata": job})
    cache.put("Pod", pod(resourceVersion="1"))
    now, leads, woken = [1000.0], [True], list[Key]()
    async with api_server(handler) as client:
        context: Any = SimpleNamespace(
            client=client, cache=cache, progress={}, enqueue=woken.append, clock=lambda: NOW, metrics=Metrics(list, "1")
        )
        reports = Reports(context, lambda: leads[0], clock=lambda: now[0])
        async with TestClient(TestServer(reports.application())) as http:
            yield Door(http, context, asked, now, leads, woken)


async def test_a_report_of_the_pod_of_the_attempt_waits_for_the_reconciler() -> None:
    async with door() as found:
        assert await found.tell() == 204
        attempt, told = found.context.progress[KEY]
        assert (attempt, told.read) == (1, 7)
        assert found.woken == [KEY]
        assert found.asked[0]["spec"] == {"token": "good", "audiences": ["towline"]}


async def test_a_run_reports_every_few_seconds_and_its_token_is_looked_at_once_a_minute() -> None:
    async with door() as found:
        assert [await found.tell(), await found.tell()] == [204, 429]
        for _ in range(12):
            found.now[0] += 5
            assert await found.tell() == 204
        assert len(found.asked) == 2


async def test_forged_reports_change_nothing() -> None:
    async with door() as found:
        assert await found.tell("forged") == 401
        assert await found.tell(sync_uid="s-2") == 409
        assert await found.tell(attempt=2) == 409
        assert await found.tell(stream="evil") == 422
        assert await found.tell(more="fields") == 400
        assert await found.tell(streams=[{"name": "hosts", "read": -1}]) == 400
        assert found.context.progress == {}
        assert found.woken == []


async def test_another_pod_with_a_good_token_cannot_speak_for_the_run() -> None:
    async with door() as found:
        found.context.cache.put("Pod", pod(uid="p-2", resourceVersion="2"))
        assert await found.tell() == 403


async def test_large_bodies_and_missing_tokens_are_turned_away_before_anything_is_asked() -> None:
    async with door() as found:
        large, token = b"x" * (MAX_REPORT_BYTES + 1), {"Authorization": "Bearer x"}
        async with found.http.post(PATH, data=large) as answer:
            assert answer.status == 401
        async with found.http.post(PATH, data=large, headers=token) as answer:
            assert answer.status == 413
        assert await found.tell("x" * 5000) == 401
        assert found.asked == []


async def test_a_flood_of_bad_tokens_reaches_the_api_server_only_so_often() -> None:
    async with door() as found:
        for number in range(260):
            assert await found.tell(f"forged-{number}") == 401
        assert len(found.asked) == 200
        found.now[0] += 1
        assert await found.tell() == 204, "a moment later others are heard again"


async def test_all_runs_together_leave_the_api_server_room() -> None:
    async with door() as found:
        taken = 0
        for number in range(40):
            run = {"metadata": {"name": f"r{number}", "namespace": "secops", "uid": f"u{number}"}}
            taken += await _of(found, run)
        assert taken == 20


async def _of(found: Door, run: dict[str, Any]) -> bool:
    name, uid = run["metadata"]["name"], run["metadata"]["uid"]
    cache, meta = found.context.cache, {"namespace": "secops", "resourceVersion": "1"}
    spec = {"integrationRef": {"name": "acme-prod"}}
    cache.put("SyncJob", {"metadata": {"name": name, "uid": uid, **meta}, "spec": spec, "status": {"attempts": 1}})
    cache.put("Job", {"metadata": {"name": f"{name}-1", "uid": f"j{uid}", "ownerReferences": [{"uid": uid}], **meta}})
    mine = pod(
        resourceVersion=str(100 + int(name[1:])),
        labels={"app.kubernetes.io/managed-by": "towline", "towline.dev/sync": name},
        ownerReferences=[{"kind": "Job", "name": f"{name}-1", "controller": True}],
    )
    assert cache.put("Pod", mine)
    return await found.tell(sync_uid=uid) == 204


async def test_a_stand_by_sends_the_pod_away_and_closes_the_connection() -> None:
    async with door() as found:
        found.leads[0] = False
        async with found.http.post(PATH, json={}, headers={"Authorization": "Bearer good"}) as answer:
            assert answer.status == 503
            assert answer.headers["Connection"] == "close"
        assert found.asked == []
