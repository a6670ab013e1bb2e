"""kopf's settings, the API client against a real HTTP server, buckets, bundled manifests, metrics."""

import asyncio
import dataclasses
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import islice
from typing import Any

import pytest
import yaml
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from towline.api.connector import Connector
from towline.cli.operator import compile_problems
from towline.contract import RunResult
from towline.controller import bundled, feed, server
from towline.core.connectors import problems
from towline.core.facts import SecretFacts
from towline.gauges import IntegrationSample
from towline.kube.access import Access
from towline.kube.bucket import Bucket
from towline.kube.client import Client
from towline.kube.errors import (
    AlreadyExistsError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
    error_for,
)
from towline.kube.resources import INTEGRATIONS, JOBS, SECRETS, SYNCJOBS
from towline.kube.secrets import Facts, facts_of
from towline.metrics import Metrics


def test_every_setting_of_kopf_is_one_that_it_knows() -> None:
    """A misspelt setting would be taken silently."""
    for group in dataclasses.fields(feed.watch_settings()):
        section = getattr(feed.watch_settings(), group.name)
        if dataclasses.is_dataclass(section):
            assert set(vars(section)) <= {field.name for field in dataclasses.fields(section)}, group.name


def test_kopf_never_gives_up_on_an_api_server_that_is_away() -> None:
    waits = list(islice(feed.Backoffs(0.5, 30), 1000))
    assert len(waits) == 1000
    assert max(waits) <= 36
    assert waits[0] < 1


def test_kopf_lists_and_watches_only_what_is_ours() -> None:
    settings = feed.watch_settings()
    assert settings.posting.enabled is False
    assert settings.scanning.disabled is True
    assert settings.watching.initial_streaming is False


@asynccontextmanager
async def api_server(handler: Any) -> AsyncIterator[Client]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with Client(Access(f"http://127.0.0.1:{port}"), rate=1000, burst=1000) as client:
            yield client
    finally:
        await runner.cleanup()


def status(code: int, reason: str = "", **more: Any) -> web.Response:
    return web.json_response({"kind": "Status", "reason": reason, "message": "secret-body"}, status=code, **more)


async def test_an_unavailable_server_is_asked_again() -> None:
    answers = iter([status(503), status(429, headers={"Retry-After": "0"}), web.json_response({"kind": "Job"})])

    async def handler(_: web.Request) -> web.Response:
        return next(answers)

    async with api_server(handler) as client:
        assert await client.get(JOBS, "ns", "x") == {"kind": "Job"}
        assert client.requests == 3


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (404, "NotFound", NotFoundError),
        (409, "AlreadyExists", AlreadyExistsError),
        (409, "Conflict", ConflictError),
        (403, "Forbidden", RefusedError),
        (422, "Invalid", RefusedError),
    ],
)
async def test_errors_have_types_and_never_the_servers_words(code: int, reason: str, kind: type[Exception]) -> None:
    async def handler(_: web.Request) -> web.Response:
        return status(code, reason)

    async with api_server(handler) as client:
        with pytest.raises(kind) as caught:
            await client.create(JOBS, "ns", {"metadata": {"name": "x"}})
    assert "secret-body" not in str(caught.value)
    assert str(code) in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../../kube-system/secrets/x", "..", ".", "x/status", "x?watch=1", "x%2f..", "x#y", "x\\y", "a b", "é"]
)
async def test_a_name_that_would_lead_elsewhere_is_never_asked_for(name: str) -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.json_response({"metadata": {"uid": "u", "resourceVersion": "1"}, "data": {}})

    async with api_server(handler) as client:
        with pytest.raises(NotFoundError):
            await client.get(SECRETS, "ns", name)
        assert await Facts(client).read(SECRETS, "ns", name, 0.0) is None
    assert asked == []


async def test_what_yaml_does_not_take_as_it_is_arrives_all_the_same() -> None:
    """The API server reads the body of an apply as YAML: a message may quote anything that a user wrote."""
    odd = "DEL \x7f C1 \x80\x85\x9f lines \u2028\u2029 marks \ufeff\ufffe\uffff, and not é € \U0001f600 \ud7ff\ue000"
    bodies: list[bytes] = []

    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.json_response({})

    async with api_server(handler) as client:
        await client.apply(JOBS, "ns", "x", {"status": {"message": odd}})
    assert yaml.safe_load(bodies[0]) == {"status": {"message": odd}}
    assert "é € \U0001f600".encode() in bodies[0]


async def test_lists_are_read_in_pages_and_begin_anew_when_pages_expire() -> None:
    calls: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        token = request.query.get("continue", "")
        calls.append(token)
        if token == "old":
            return status(410, "Expired")
        first = len(calls) == 1
        items = [{"metadata": {"name": f"{len(calls)}"}}]
        meta = {"resourceVersion": "7", "continue": "old" if first else ""}
        return web.json_response({"items": items, "metadata": meta})

    async with api_server(handler) as client:
        items, version = await client.list(INTEGRATIONS)
    assert (len(items), version, calls) == (1, "7", ["", "old", ""])


async def test_a_request_about_one_object_that_hangs_is_asked_again_sooner_than_a_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An API server that took a request and went away: what it was about must not wait as long as a list may take."""
    monkeypatch.setattr("towline.kube.client._OBJECT_SECONDS", 1.0)
    calls: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        calls.append("list" if "limit" in request.query else "object")
        if calls.count(calls[-1]) == 1:
            await asyncio.sleep(1.5)
        return web.json_response({"items": [], "metadata": {"resourceVersion": "7"}})

    async with api_server(handler) as client:
        assert (await client.get(INTEGRATIONS, "ns", "a"))["metadata"]["resourceVersion"] == "7"
        assert await client.list(INTEGRATIONS) == ([], "7")
    assert calls == ["object", "object", "list"]


async def test_no_write_of_a_status_holds_up_what_starts_a_run() -> None:
    async def handler(_: web.Request) -> web.Response:
        return web.json_response({"metadata": {"resourceVersion": "7"}})

    async with api_server(handler) as made, Client(made._access, rate=0.01, burst=1) as client:
        await client.apply(INTEGRATIONS, "ns", "x", {}, subresource="status")
        waiting = asyncio.create_task(client.apply(INTEGRATIONS, "ns", "x", {}, subresource="status"))
        async with asyncio.timeout(10):
            assert await client.is_current(SYNCJOBS, "ns", "x", "7")
            await client.get(SECRETS, "ns", "x")
            await client.create(SYNCJOBS, "ns", {"metadata": {"name": "x"}})
            await client.create(JOBS, "ns", {"metadata": {"name": "x-1"}})
        assert not waiting.done()
        waiting.cancel()


async def test_an_apply_that_meets_an_object_of_the_wrong_type_is_not_repeated() -> None:
    asked: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.method)
        return status(500, "InternalError")

    async with api_server(handler) as client:
        with pytest.raises(UnavailableError) as caught:
            await client.apply(INTEGRATIONS, "ns", "x", {}, subresource="status")
    assert (caught.value.status, asked) == (500, ["PATCH"])


async def test_deleting_what_is_gone_is_fine() -> None:
    async def handler(request: web.Request) -> web.Response:
        assert (await request.json())["preconditions"] == {"uid": "u"}
        return status(404, "NotFound")

    async with api_server(handler) as client:
        await client.delete(JOBS, "ns", "x", "u")


def test_a_server_error_says_to_try_later() -> None:
    assert isinstance(error_for("GET x", 500, ""), UnavailableError)
    assert isinstance(error_for("GET x", 429, "TooManyRequests"), UnavailableError)


def test_a_bucket_lets_a_burst_through_and_then_keeps_the_rate() -> None:
    now = 0.0
    bucket = Bucket(10, 3, lambda: now)
    assert [round(bucket.reserve(), 2) for _ in range(5)] == [0, 0, 0, 0.1, 0.2]
    now = 10.0
    assert [bucket.reserve() for _ in range(3)] == [0, 0, 0]


def test_of_a_secret_only_names_and_metadata_are_kept() -> None:
    meta = {"uid": "u", "resourceVersion": "1", "annotations": {"towline.dev/allowed-hosts": "a.example"}}
    facts = facts_of({"metadata": meta, "data": {"token": "aHVudGVyMg==", "empty": ""}})
    assert facts == SecretFacts("u/1", frozenset({"token"}), "a.example")
    assert "aHVudGVyMg" not in repr(facts)


def test_paths_follow_the_api() -> None:
    assert INTEGRATIONS.path("ns", "x", "status") == "/apis/towline.dev/v1alpha1/namespaces/ns/integrations/x/status"
    assert SECRETS.path("ns", "x") == "/api/v1/namespaces/ns/secrets/x"
    assert INTEGRATIONS.path() == "/apis/towline.dev/v1alpha1/integrations"


@pytest.mark.parametrize("manifest", list(bundled.manifests()), ids=lambda manifest: manifest["metadata"]["name"])
def test_every_bundled_connector_can_be_used(manifest: dict[str, Any]) -> None:
    raw = {**manifest, "metadata": {**manifest["metadata"], "generation": 1, "uid": "u"}}
    assert problems(raw, compile_problems) == []


def test_a_bad_manifest_is_explained_by_the_engine() -> None:
    manifest = next(one for one in bundled.manifests() if one["spec"].get("http"))
    stream = manifest["spec"]["streams"][0]
    broken = {**stream, "emit": [{**stream["emit"][0], "key": "=== not an expression"}]}
    spec = {**manifest["spec"], "streams": [broken]}
    found = compile_problems(Connector.model_validate({**manifest, "spec": spec}))
    assert found
    assert stream["name"] in found[0]


def sample(name: str = "a", **changes: Any) -> IntegrationSample:
    facts: dict[str, Any] = {
        "namespace": "ns",
        "name": name,
        "connector": "acme",
        "category": "EDR",
        "conditions": (("Ready", "False", "SecretNotFound"), ("Stalled", "True", "SecretNotFound")),
        "suspended": False,
        "last_success": 12.0,
        "interval": 3600.0,
        "failures": 2,
    }
    return IntegrationSample(**{**facts, **changes})


def test_metrics_of_integrations_come_and_go_with_them() -> None:
    present = [sample("a"), sample("b", last_success=None)]
    metrics = Metrics(lambda: present, "1.0")
    page = metrics.text().decode()
    assert 'towline_integration_stalled{integration="a",namespace="ns",reason="SecretNotFound"} 1.0' in page
    assert 'towline_integration_condition{integration="a",namespace="ns",status="False",type="Ready"} 1.0' in page
    assert 'towline_integration_condition{integration="a",namespace="ns",status="True",type="Ready"} 0.0' in page
    assert 'towline_integration_last_success_timestamp_seconds{integration="a",namespace="ns"} 12.0' in page
    assert 'towline_integration_last_success_timestamp_seconds{integration="b"' not in page
    metrics.count(metrics.runs, "ns", "a", "Manual", "Completed")
    metrics.count(metrics.runs, "ns", "b", "Manual", "Completed")
    metrics.forget("ns", "a")
    del present[0]
    page = metrics.text().decode()
    assert 'integration="a"' not in page
    assert 'towline_sync_runs_total{integration="b"' in page


def test_a_metric_is_read_as_it_was_meant_whatever_a_condition_holds() -> None:
    odd = 'a "b" \\ c\nd {x="y"}'
    found = sample(
        conditions=(("Ready", "True", "Synced"), (odd, "True", "x"), ("Stalled", "True", odd)),
        success_rate=0.5,
        probe_seconds=0.25,
        health="Healthy",
        last_probe=1_800_000_000.5,
        expiries=(("credentials", 1_900_000_000.0),),
    )
    families = {one.name: one for one in text_string_to_metric_families(Metrics(lambda: [found], "1").text().decode())}
    types = {one.labels["type"] for one in families["towline_integration_condition"].samples}
    assert types == {"Ready", "Stalled", odd}
    assert families["towline_integration_stalled"].samples[0].labels["reason"] == odd
    assert families["towline_integration_success_rate"].samples[0].value == 0.5
    assert families["towline_integration_last_probe_timestamp_seconds"].samples[0].value == 1_800_000_000.5
    assert all(one.type == "gauge" for name, one in families.items() if name.startswith("towline_integration"))


def test_results_are_counted_within_bounds() -> None:
    metrics = Metrics(list, "1.0")
    result = RunResult.model_validate(
        {
            "sync_uid": "s",
            "attempt": 1,
            "reason": "Completed",
            "streams": [{"name": "hosts", "read": 5, "upserted": 2}, {"name": "forged", "read": 99}],
            "http": {"2xx": 7, "429": 1, "evil\n": 3},
        }
    )
    metrics.count_result("ns", "a", "acme", result, {"hosts"})
    page = metrics.text().decode()
    assert 'towline_sync_records_total{integration="a",namespace="ns",operation="read",stream="hosts"} 5.0' in page
    assert "forged" not in page
    assert "evil" not in page
    assert 'towline_upstream_requests_total{code="429",connector="acme"} 1.0' in page
    assert 'towline_sync_rate_limited_requests_total{integration="a",namespace="ns"} 1.0' in page


def test_what_others_count_is_told_as_a_counter() -> None:
    metrics = Metrics(list, "1.0")
    for total in (3, 3, 8):
        metrics.reach(metrics.api_requests, total)
    page = metrics.text().decode()
    assert "# TYPE towline_api_requests_total counter" in page
    assert "towline_api_requests_total 8.0" in page


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_memory_and_start_of_the_process_are_told() -> None:
    families = {one.name for one in text_string_to_metric_families(Metrics(list, "1.0").text().decode())}
    assert families >= {"process_resident_memory_bytes", "process_start_time_seconds", "process_cpu_seconds"}


async def test_probes_tell_why_they_fail() -> None:
    from aiohttp.test_utils import TestClient, TestServer

    dead, waiting = "", "not listed yet: pods"
    app = server.application(lambda: dead, lambda: waiting, lambda: lambda: b"up 1\n")
    async with TestClient(TestServer(app)) as client:
        assert (await client.get("/livez")).status == 200
        answer = await client.get("/readyz")
        assert (answer.status, await answer.text()) == (503, "not listed yet: pods\n")
        dead = "the event loop is held up"
        assert (await client.get("/livez")).status == 503
        assert await (await client.get("/metrics")).text() == "up 1\n"


async def test_a_loop_that_is_held_up_is_noticed() -> None:
    ticks: Iterator[float] = iter([0.0, 0.5, 40.0])
    heartbeat = server.Heartbeat(lambda: next(ticks))
    task = asyncio.create_task(heartbeat.run())
    await asyncio.sleep(0)
    assert heartbeat.lag == 38.5
    task.cancel()


async def test_a_secret_that_was_missing_a_moment_ago_is_asked_for_again() -> None:
    present: list[dict[str, Any]] = []
    clock = [0.0]

    async def handler(_: web.Request) -> web.Response:
        return web.json_response(present[0]) if present else status(404, "NotFound")

    async with api_server(handler) as client:
        facts = Facts(client, lambda: clock[0])
        assert await facts.read(SECRETS, "ns", "x", 270) is None
        present.append({"metadata": {"uid": "u", "resourceVersion": "1"}, "data": {"token": "eA=="}})
        clock[0] = 1.0
        found = await facts.read(SECRETS, "ns", "x", 270)
        assert found is not None
        assert found.keys == {"token"}
        requests = client.requests
        clock[0] = 200.0
        assert await facts.read(SECRETS, "ns", "x", 270) == found
        assert client.requests == requests
