"""What a vendor allows: waiting times in all forms, budgets by count and by headers, the circuit breaker, and what
all users of one credential share."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import SECRETS, plan, rows, spec, sync, users
from tests.unit.engine.test_engine_run import people, serve_users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.api.connector import ConnectorSpec
from towline.api.http import Breaker as BreakerSpec
from towline.api.http import Budget, Http
from towline_connectors.engine import breaker as breakers
from towline_connectors.engine.accounts import Accounts
from towline_connectors.engine.breaker import Breaker
from towline_connectors.engine.budget import Budgets, Limiter
from towline_connectors.engine.caller import Caller
from towline_connectors.engine.compile import load_spec
from towline_connectors.engine.errors import RateLimited, Unreachable
from towline_connectors.engine.http import Client
from towline_connectors.engine.interpolate import Scope, Secrets, fill
from towline_connectors.engine.probe import probe
from towline_connectors.engine.source import Setup
from towline_connectors.engine.waits import Wait, parse

NOW = 1_800_000_000.0


@pytest.mark.parametrize(
    ("value", "milliseconds", "wait"),
    [
        ("30", False, 30.0),
        ("1.5", False, 1.5),
        (0, False, 0.0),
        ("1500", True, 1.5),
        (str(NOW + 60), False, 60.0),
        (str(int((NOW + 60) * 1000)), False, 60.0),
        (formatdate(NOW + 90, usegmt=True), False, 90.0),
        ("2027-01-15T08:01:00Z", False, 60.0),
        ("2 seconds", False, 2.0),
        ("250ms", False, 0.25),
        ("3 Minutes", False, 180.0),
        (str(NOW - 60), False, 0.0),
        ("-5", False, None),
        ("nan", False, None),
        ("soon", False, None),
        ("", False, None),
        (None, False, None),
        (True, False, None),
    ],
)
def test_a_waiting_time_is_understood_in_every_form(value: Any, milliseconds: bool, wait: float | None) -> None:
    assert parse(value, NOW, milliseconds=milliseconds) == wait


@pytest.mark.parametrize(
    ("source", "wait"),
    [
        ("header:X-Reset", 60.0),
        ("header:retry-after-ms:ms", 2.5),
        ("body:error.retry", 7.0),
        ("body:error.none", None),
        ("header:none", None),
        ("2m", 120.0),
    ],
)
def test_a_waiting_time_is_found_where_the_rule_says(source: str, wait: float | None) -> None:
    headers = {"x-reset": str(NOW + 60), "retry-after-ms": "2500"}
    assert Wait(source).find(headers, b'{"error": {"retry": 7}}', NOW) == wait


@dataclass
class Time:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


def limiter(time: Time, **fields: Any) -> Limiter:
    return Limiter(Budget.model_validate({"name": "default", **fields}), time)


async def begin(found: Limiter, cost: int = 1, headers: dict[str, str] | None = None) -> None:
    async with found.request(cost, patience=0):
        found.learn(headers or {}, cost)


async def test_each_window_of_a_budget_holds_and_weights_count() -> None:
    time = Time()
    found = limiter(time, rates=["3/1s", "5/1m"])
    for cost in (1, 2):
        await begin(found, cost)
    assert found.wait() == 1.0
    time.now += 1
    assert found.wait(2) == 0
    assert found.wait(3) == 59.0, "only two are left in the minute"
    await begin(found, 2)
    time.now += 1
    assert found.wait() == 58.0
    with pytest.raises(RateLimited) as told:
        await begin(found)
    assert told.value.retry_after == 58.0
    time.now += 120
    assert found.wait(9) == 0, "what weighs more than a window takes a whole one"


async def test_a_budget_follows_what_is_left_until_it_begins_anew() -> None:
    time = Time()
    found = limiter(
        time,
        adaptive={
            "limit": "header:x-limit",
            "remaining": "header:x-left",
            "reset": "header:x-reset",
            "keepPercent": 10,
        },
    )
    await begin(found, headers={"x-limit": "20, 20;window=60", "x-left": "4", "x-reset": "30"})
    assert found.wait() == 0
    await begin(found)
    assert found.wait() == 0
    await begin(found)
    assert found.wait() == 30.0, "2 of 20 are left to others"
    time.now += 30
    assert found.wait() == 0


async def test_a_budget_without_a_count_of_what_is_left_counts_by_itself() -> None:
    time = Time()
    found = limiter(time, adaptive={"limit": "header:x-limit", "reset": "header:x-reset"})
    for _ in range(3):
        await begin(found, headers={"x-limit": "3", "x-reset": "60"})
    assert found.wait() == 60.0
    time.now += 60
    await begin(found, headers={"x-limit": "3", "x-reset": "60"})
    assert found.wait() == 0


async def test_requests_under_way_are_taken_off_what_is_left() -> None:
    found = limiter(Time(), adaptive={"remaining": "header:x-left"}, rates=["100/1m"])
    async with found.request(), found.request():
        found.learn({"x-left": "1"})
        assert found.wait() == 60.0, "the one that is left is under way already"


async def test_a_wait_that_one_request_was_told_holds_for_all_of_the_budget() -> None:
    time = Time()
    found = limiter(time)
    found.hold(5)
    found.hold(2)
    assert found.wait() == 5.0


def test_the_budget_of_a_request() -> None:
    budgets = Budgets(
        [
            Budget.model_validate({"name": "default"}),
            Budget.model_validate({"name": "heavy"}),
            Budget.model_validate({"name": "export", "match": {"path": "/export*", "method": "POST"}}),
        ]
    )
    named = {id(budgets.limiter("GET", "/x", name)): name for name in ("default", "heavy")}
    assert named[id(budgets.limiter("GET", "/x"))] == "default"
    assert named[id(budgets.limiter("GET", "/export/1"))] == "default"
    assert id(budgets.limiter("POST", "/export/1", "heavy")) not in named


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_request_try(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time()
    monkeypatch.setattr(breakers.clock, "monotonic", time)
    found = Breaker("api.example.com", BreakerSpec(failures=3, pause="30s"))
    for failed in (True, True, False, True, True, True):
        found.enter()
        found.leave(failed=failed)
    with pytest.raises(Unreachable, match=r"api.example.com failed 3 times in a row") as told:
        found.enter()
    assert told.value.retry_after == 30.0
    time.now += 31
    found.enter()
    with pytest.raises(Unreachable):
        found.enter()
    found.leave(failed=True)
    with pytest.raises(Unreachable):
        found.enter()
    time.now += 31
    found.enter()
    found.leave(failed=False)
    found.enter()


def test_a_run_stops_asking_a_host_that_fails_again_and_again(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {}, status=503)
    retry = {
        "attempts": 8,
        "maxElapsed": "10s",
        "backoff": {"initial": "0s"},
        "breaker": {"failures": 3, "pause": "1h"},
    }
    result = sync(plan(spec(vendor.url, [users()], retry=retry)), database)
    assert result.reason is Reason.UNREACHABLE
    assert "failed 3 times in a row; no request is sent to it for now" in result.message
    assert len(vendor.seen) == 3


def test_a_429_with_a_wait_in_the_body_is_waited_for(vendor: Vendor, database: Path) -> None:
    answers = itertools.chain([({"error": {"retryAfter": 1}}, 429)], itertools.repeat(({"items": people(2)}, 200)))

    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.Response:
        body, status = next(answers)
        return web.json_response(body, status=status)

    errors = [{"when": {"status": [429]}, "class": "RateLimited", "wait": ["body:error.retryAfter"]}]
    assert sync(plan(spec(vendor.url, [users()], errors=errors)), database).reason is Reason.COMPLETED


def test_a_vendor_whose_headers_say_that_nothing_is_left_is_not_asked_again_before_its_time(
    vendor: Vendor, database: Path
) -> None:
    serve_users(vendor, people(25))
    plain = vendor.routes["GET", "/users"]

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.StreamResponse:
        answer = await plain(request)
        answer.headers.update({"X-Left": "0", "X-Reset": "7200"})
        return answer

    budgets = [{"name": "default", "adaptive": {"remaining": "header:x-left", "reset": "header:x-reset"}}]
    result = sync(plan(spec(vendor.url, [users()], budgets=budgets)), database)
    assert result.reason is Reason.RATE_LIMITED
    assert len(vendor.seen) == 1
    assert 7100 <= (result.retry_after_seconds or 0) <= 7200


@pytest.mark.parametrize(
    ("class_", "reason"),
    [("Policy", Reason.POLICY_VIOLATION), ("Permission", Reason.PERMISSION_DENIED), ("Transient", Reason.UNREACHABLE)],
)
def test_an_answer_that_refuses_with_200_is_judged_by_its_body(
    vendor: Vendor, database: Path, class_: str, reason: Reason
) -> None:
    vendor.json("/users", {"errors": [{"code": "NO"}], "items": []})
    errors = [{"when": {"status": [200], "body": {"path": "errors[0].code", "equals": "NO"}}, "class": class_}]
    assert sync(plan(spec(vendor.url, [users()], errors=errors)), database).reason is reason


def test_what_a_rule_skips_is_counted_and_nothing_is_deleted(vendor: Vendor, database: Path) -> None:
    crowd = people(15)
    serve_users(vendor, crowd)
    assert sync(plan(spec(vendor.url, [users()])), database).reason is Reason.COMPLETED
    plain = vendor.routes["GET", "/users"]

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.StreamResponse:
        return await plain(request) if request.query["offset"] == "0" else web.json_response({}, status=410)

    errors = [{"when": {"status": [410]}, "class": "SkipRecord"}]
    result = sync(plan(spec(vendor.url, [users()], errors=errors), uid="sync-2"), database)
    assert [(one.read, one.rejected, one.deleted) for one in result.streams] == [(10, 1, 0)]
    assert rows(database, "select count(*) from users where deleted_time is null") == [(15,)]


def test_a_rule_looks_into_text_and_xml(vendor: Vendor, database: Path) -> None:
    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(text="<SIMPLE_RETURN><RESPONSE><CODE>1965</CODE></RESPONSE></SIMPLE_RETURN>", status=409)

    for body in (
        {"contains": "<code>1965</code>"},
        {"path": "SIMPLE_RETURN.RESPONSE.CODE", "equals": 1965},
    ):
        errors = [{"when": {"status": [409], "body": body}, "class": "Permission"}]
        result = sync(plan(spec(vendor.url, [users()], errors=errors)), database)
        assert result.reason is Reason.PERMISSION_DENIED


@pytest.mark.parametrize(("value", "reason"), [("me", Reason.COMPLETED), (None, Reason.CREDENTIALS_REJECTED)])
def test_a_health_call_is_proved_by_its_answer(
    vendor: Vendor, database: Path, value: str | None, reason: Reason
) -> None:
    vendor.json("/ok", {"user": {"id": value}})
    manifest = spec(vendor.url, [users()])
    manifest["health"] = {"request": {"path": "/ok"}, "expect": {"body": "=user.id"}}
    assert sync(plan(manifest, mode="Check"), database).reason is reason


# -- what is shared


def caller(vendor: Vendor, accounts: Accounts, secret: str = "s", **http: Any) -> Caller:
    manifest = ConnectorSpec.model_validate(spec(vendor.url, [users()], **http))
    scope: Scope = {"config": {}, "secret": Secrets({"client_id": "cid", "client_secret": secret, "token": "t"})}
    setup = Setup(
        manifest,
        text=lambda template: fill(template, scope),
        value=lambda value: value,
        allowed_hosts=("127.0.0.1",),
        accounts=accounts,
    )
    assert isinstance(manifest.http, Http)
    return Caller(manifest.http, setup, scope, Client(("127.0.0.1",), plain_http=True))


async def ask(found: Caller, times: int = 1) -> None:
    from towline.api.http import Request

    calls = [found.call(Request(path="/users"), {}, budget=None, phase=None) for _ in range(times)]
    await asyncio.gather(*(found.send(call) for call in calls))


async def test_all_that_use_one_credential_share_its_token_and_401s_at_once_fetch_it_once(vendor: Vendor) -> None:
    made = itertools.count(1)
    good = {"Bearer t1"}

    @vendor.on("POST", "/token")
    async def token(_request: web.Request) -> web.Response:
        return web.json_response({"access_token": f"t{next(made)}"})

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        return web.json_response([], status=200 if request.headers["authorization"] in good else 401)

    auth = {"kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token"}
    accounts = Accounts()
    first, second = caller(vendor, accounts, auth=auth), caller(vendor, accounts, auth=auth)
    await asyncio.gather(ask(first, 3), ask(second, 3))
    assert vendor.paths().count("/token") == 1
    good.clear()
    good.add("Bearer t2")
    await asyncio.gather(ask(first, 3), ask(second, 3))
    assert vendor.paths().count("/token") == 2
    good.add("Bearer t3")
    await ask(caller(vendor, accounts, secret="other", auth=auth))
    assert vendor.paths().count("/token") == 3, "another secret is another account"


async def test_all_that_use_one_credential_share_its_budget(vendor: Vendor) -> None:
    vendor.json("/users", [])
    accounts = Accounts()
    budgets = [{"name": "default", "rates": ["2/1h"]}]
    retry = {"attempts": 1, "maxElapsed": "1s"}
    await ask(caller(vendor, accounts, budgets=budgets, retry=retry))
    await ask(caller(vendor, accounts, budgets=budgets, retry=retry))
    with pytest.raises(RateLimited):
        await ask(caller(vendor, accounts, budgets=budgets, retry=retry))
    assert len(vendor.seen) == 2


async def test_probes_of_one_credential_fetch_one_token(vendor: Vendor) -> None:
    vendor.json("/token", {"access_token": "t1"}, "POST")
    vendor.json("/ok", {})
    auth = {"kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token"}
    manifest = spec(vendor.url, [users()], auth=auth)
    parsed = load_spec(manifest)  # once, as the operator does
    wanted = plan(manifest).model_copy(update={"manifest": {}, "streams": []})
    accounts = Accounts()
    for _ in range(3):
        failure = (await probe(wanted, SECRETS, 5.0, accounts=accounts, spec=parsed)).failure
        assert failure is None
    assert vendor.paths().count("/token") == 1
    assert vendor.paths().count("/ok") == 3
