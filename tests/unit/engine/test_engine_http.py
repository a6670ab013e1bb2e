from __future__ import annotations

import gzip
import json
import socket
import time
import zlib
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import plan, rows, spec, sync, users
from tests.unit.engine.test_engine_run import people, serve_users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import EXIT_CODES, RunResult
from towline_connectors.engine import decode
from towline_connectors.engine.errors import EngineError
from towline_connectors.engine.hosts import host_allowed

ONE = {"items": [{"id": "u1", "name": "A", "mail": "a@b"}]}


def read(vendor: Vendor, database: Path, stream: dict[str, Any] | None = None, **http_: Any) -> RunResult:
    return sync(plan(spec(vendor.url, [stream or users()], **http_)), database)


# -- credentials


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        ({"kind": "Basic", "username": "${secret.user}", "password": "${secret.token}"}, "authorization",
         "Basic dTp0b2stMTIz"),
        ({"kind": "Bearer", "value": "${secret.token}"}, "authorization", "Bearer tok-123"),
        ({"kind": "Header", "name": "X-Key", "value": "k=${secret.token};u=${secret.user}"}, "x-key", "k=tok-123;u=u"),
    ],
)  # fmt: skip
def test_credentials_go_into_the_header(
    vendor: Vendor, database: Path, auth: dict[str, str], header: str, value: str
) -> None:
    vendor.json("/users", ONE)
    assert read(vendor, database, auth=auth).reason is Reason.COMPLETED
    assert vendor.headers[0][header] == value
    assert vendor.headers[0]["user-agent"].startswith("towline/")


def test_credentials_go_into_the_query(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", ONE)
    read(vendor, database, auth={"kind": "Query", "name": "api key", "value": "${secret.token}"})
    assert vendor.seen[0][2]["api key"] == "tok-123"


def oauth(vendor: Vendor, life: int = 3600) -> dict[str, Any]:
    counter = {"n": 0}

    @vendor.on("POST", "/token")
    async def token(request: web.Request) -> web.Response:
        form = await request.post()
        if form["client_secret"] != "csecret-456":
            return web.json_response({"error": "invalid_client", "error_description": "csecret"}, status=401)
        counter["n"] += 1
        return web.json_response({"access_token": f"t{counter['n']}", "expires_in": life})

    return {"kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token", "scope": "all"}


def test_one_token_serves_all_requests_and_is_fetched_anew_once_after_a_401(vendor: Vendor, database: Path) -> None:
    auth = oauth(vendor)
    crowd = people(25)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        good = "Bearer t2" if at else "Bearer t1"
        if request.headers["authorization"] != good:
            return web.json_response({}, status=401)
        return web.json_response({"items": crowd[at : at + 10]})

    result = read(vendor, database, auth=auth)
    assert result.reason is Reason.COMPLETED, result.message
    assert vendor.paths().count("/token") == 2


def test_a_refused_client_is_rejected_credentials(vendor: Vendor, database: Path) -> None:
    vendor.json("/token", {"error": "invalid_client"}, "POST", 401)
    auth = {"kind": "OAuth2ClientCredentials", "tokenURL": f"{vendor.url}/token"}
    result = read(vendor, database, auth=auth)
    assert result.reason is Reason.CREDENTIALS_REJECTED
    assert "client secret" in result.message


def test_a_missing_key_names_itself(vendor: Vendor, database: Path) -> None:
    result = sync(plan(spec(vendor.url, [users()])), database, secrets={"user": "u"})
    assert result.reason is Reason.KEY_MISSING
    assert 'Key "token"' in result.message
    assert vendor.seen == []


# -- hosts


@pytest.mark.parametrize(
    ("host", "allowed", "good"),
    [
        ("a.example", ("a.example",), True),
        ("A.EXAMPLE.", ("a.example",), True),
        ("b.example", ("a.example",), False),
        ("x.a.example", ("*.a.example",), True),
        ("a.example", ("*.a.example",), False),
        ("evila.example", ("*.a.example",), False),
        ("a.example", ("https://a.example:8443/api",), True),
        ("a.example", ("a.example:8443",), True),
        ("::1", ("[::1]:443",), True),
        ("a.example", (), False),
    ],
)
def test_hosts_that_credentials_may_go_to(host: str, allowed: tuple[str, ...], good: bool) -> None:
    assert host_allowed(host, allowed) is good


def test_nothing_is_sent_to_a_host_that_is_not_allowed(vendor: Vendor, database: Path) -> None:
    result = sync(plan(spec(vendor.url, [users()]), allowed_hosts=["api.example.com"]), database)
    assert result.reason is Reason.HOST_NOT_ALLOWED
    assert "towline.dev/allowed-hosts" in result.message
    assert vendor.seen == []


def test_a_token_is_not_fetched_from_a_host_that_is_not_allowed(vendor: Vendor, database: Path) -> None:
    auth = {"kind": "OAuth2ClientCredentials", "tokenURL": vendor.url.replace("127.0.0.1", "localhost") + "/token"}
    vendor.json("/token", {"access_token": "t"}, "POST")
    assert read(vendor, database, auth=auth).reason is Reason.HOST_NOT_ALLOWED
    assert vendor.seen == []


def test_a_redirect_to_another_host_is_refused_and_one_within_the_host_followed(vendor: Vendor, database: Path) -> None:
    vendor.json("/elsewhere", ONE)
    vendor.json("/users", {}, status=302, Location="/elsewhere")
    assert read(vendor, database).reason is Reason.COMPLETED
    vendor.json("/users", {}, status=302, Location="http://evil.example/users")
    result = read(vendor, database)
    assert result.reason is Reason.CONFIG_INVALID
    assert "evil.example" in result.message


def test_a_next_page_on_another_host_is_refused(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {**ONE, "next": "http://localhost:1/users"})
    result = read(vendor, database, users(paginate={"kind": "NextURL", "from": "=next"}))
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert "another host" in result.message
    assert rows(database, "select count(*) from users") == [(1,)], "what came before stays"


def test_a_value_cannot_leave_its_place_in_a_path(vendor: Vendor, database: Path) -> None:
    stream = users(request={"path": "/t/${config.tenant}/users"}, paginate=None)
    sync(plan(spec(vendor.url, [stream]), config={"tenant": "../../admin?x=1#"}), database)
    assert vendor.paths() == ["/t/../../admin?x=1#/users"], "one segment, encoded, as the server decodes it"


# -- errors


@pytest.mark.parametrize(
    ("status", "reason", "attempts"),
    [
        (400, Reason.CONFIG_INVALID, 1),
        (401, Reason.CREDENTIALS_REJECTED, 1),
        (403, Reason.PERMISSION_DENIED, 1),
        (404, Reason.CONFIG_INVALID, 1),
        (429, Reason.RATE_LIMITED, 3),
        (500, Reason.UNREACHABLE, 3),
        (503, Reason.UNREACHABLE, 3),
    ],
)
def test_each_status_has_its_reason_and_is_tried_as_often_as_it_makes_sense(
    vendor: Vendor, database: Path, status: int, reason: Reason, attempts: int
) -> None:
    vendor.json("/users", {"canary": "vendor-body-text"}, status=status)
    result = read(vendor, database)
    assert result.reason is reason
    assert result.reason in EXIT_CODES
    assert len(vendor.seen) == attempts
    assert str(status) in result.message
    assert "vendor-body-text" not in result.model_dump_json()


def test_a_500_that_passes_is_nothing_to_speak_of(vendor: Vendor, database: Path) -> None:
    failures = [500, 502]

    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response(ONE, status=failures.pop() if failures else 200)

    result = read(vendor, database)
    assert result.reason is Reason.COMPLETED
    assert result.http == {"2xx": 1, "5xx": 2}


@pytest.mark.parametrize("form", ["seconds", "date", "epoch"])
def test_a_short_retry_after_is_waited_for(vendor: Vendor, database: Path, form: str) -> None:
    limited = {"left": 1}

    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.Response:
        if limited["left"]:
            limited["left"] -= 1
            value = {"seconds": "1", "date": formatdate(time.time() + 1, usegmt=True), "epoch": str(time.time() + 1)}
            return web.json_response({}, status=429, headers={"Retry-After": value[form]})
        return web.json_response(ONE)

    assert read(vendor, database).reason is Reason.COMPLETED
    assert len(vendor.seen) == 2


def test_a_long_retry_after_ends_the_run_and_is_passed_on(vendor: Vendor, database: Path) -> None:
    calls = {"n": 0}

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        calls["n"] += 1
        if calls["n"] > 2:
            return web.json_response({}, status=429, headers={"X-Reset": "7200"})
        at = int(request.query["offset"])
        return web.json_response({"items": people(100)[at : at + 10]})

    errors = [{"when": {"status": [429]}, "class": "RateLimited", "wait": ["header:x-reset", "30m"]}]
    result = read(vendor, database, errors=errors)
    assert result.reason is Reason.RATE_LIMITED
    assert 7199 <= (result.retry_after_seconds or 0) <= 7201
    assert rows(database, "select count(*) from users") == [(20,)], "what was read stays"


def test_the_manifests_rules_come_first_and_the_first_that_matches_counts(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"error": {"message": "Invalid table users"}}, status=400)
    rules = [
        {"when": {"status": [400], "body": {"path": "error.message", "contains": "other"}}, "class": "Auth"},
        {
            "when": {"status": [400], "body": {"path": "error.message", "contains": "invalid TABLE"}},
            "class": "SkipStream",
        },
        {"when": {"status": [400]}, "class": "Auth"},
    ]
    result = read(vendor, database, errors=rules)
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert result.streams[0].skipped


def test_a_rule_of_class_empty_makes_an_empty_page(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {}, status=404)
    rules = [{"when": {"status": [404], "path": "/users"}, "class": "Empty"}]
    assert read(vendor, database, errors=rules).reason is Reason.COMPLETED


def test_a_hint_of_the_manifest_is_shown(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {}, status=403)
    rules = [{"when": {"status": [403]}, "class": "Permission", "hint": "grant ${stream.permission}"}]
    result = read(vendor, database, users(permission="User.Read"), errors=rules)
    assert result.message.endswith("grant User.Read.")


def test_an_optional_stream_without_permission_is_left_out_and_the_others_go_on(vendor: Vendor, database: Path) -> None:
    vendor.json("/a", {}, status=403)
    vendor.json("/users", ONE)
    first = users(name="first", request={"path": "/a"}, optional=True)
    result = sync(plan(spec(vendor.url, [first, users()])), database)
    assert result.reason is Reason.PARTIALLY_COMPLETED
    assert [stream.skipped is None for stream in result.streams] == [False, True]
    assert result.streams[1].read == 1


def test_a_stream_that_fails_does_not_keep_the_others_from_being_read(vendor: Vendor, database: Path) -> None:
    vendor.json("/a", {}, status=403)
    vendor.json("/users", ONE)
    result = sync(plan(spec(vendor.url, [users(name="first", request={"path": "/a"}), users()])), database)
    assert result.reason is Reason.PERMISSION_DENIED
    assert "Stream first" in result.message
    assert result.streams[1].read == 1


# -- the network


def test_a_refused_connection_names_host_and_cause(database: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    result = sync(plan(spec(url, [users()])), database)
    assert result.reason is Reason.UNREACHABLE
    assert "127.0.0.1 refuses the connection" in result.message


def test_a_name_that_does_not_resolve_is_told_so(database: Path) -> None:
    result = sync(
        plan(spec("http://no-such-host.invalid", [users()]), allowed_hosts=["no-such-host.invalid"]), database
    )
    assert result.reason is Reason.UNREACHABLE
    assert "no-such-host.invalid cannot be resolved (DNS)" in result.message


def test_plain_http_to_a_tls_port_and_the_other_way_round_fail_in_words(vendor: Vendor, database: Path) -> None:
    url = vendor.url.replace("http://", "https://")
    result = sync(plan(spec(url, [users()])), database)
    assert result.reason is Reason.UNREACHABLE
    assert "TLS" in result.message


# -- bodies


def serve_bytes(vendor: Vendor, body: bytes, **headers: str) -> None:
    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers={"Content-Type": "application/json", **headers})


GOOD = json.dumps(ONE).encode()


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(gzip.compress(GOOD), "gzip"), (zlib.compress(GOOD), "deflate"), (b"\xef\xbb\xbf" + GOOD, "identity")],
)
def test_encoded_answers_are_read(vendor: Vendor, database: Path, body: bytes, encoding: str) -> None:
    serve_bytes(vendor, body, **{"Content-Encoding": encoding})
    assert read(vendor, database).reason is Reason.COMPLETED


@pytest.mark.parametrize(
    ("body", "reason", "says"),
    [
        (b"<html>log in</html>", Reason.UNREACHABLE, "page instead of JSON"),
        (b'{"items": [{"id": "u1"', Reason.UNREACHABLE, "half a document"),
        (b"", Reason.UNREACHABLE, "nothing where JSON should be"),
        (b"hello", Reason.SCHEMA_MISMATCH, "not JSON"),
        (b'{"items": NaN}', Reason.SCHEMA_MISMATCH, "not JSON"),
        (b"[" * 100_000 + b"]" * 100_000, Reason.SCHEMA_MISMATCH, "not JSON"),
        (b'{"data": []}', Reason.SCHEMA_MISMATCH, "where a list should be"),
        (b'{"items": "x"}', Reason.SCHEMA_MISMATCH, "where a list should be"),
    ],
)
def test_bodies_that_are_not_what_they_should_be(
    vendor: Vendor, database: Path, body: bytes, reason: Reason, says: str
) -> None:
    serve_bytes(vendor, body)
    result = read(vendor, database)
    assert (result.reason, says in result.message) == (reason, True), result.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'{"a": "x\\u0000y"}', {"a": "xy"}),
        (b'{"a": "\\ud800"}', {"a": "?"}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890.0}),
        (b'{"a": "\xff"}', {"a": "\N{REPLACEMENT CHARACTER}"}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"null", None),
    ],
)
def test_odd_json_is_made_storable(text: bytes, value: Any) -> None:
    assert decode.decode_json(text, "h", "/p") == value


def test_a_bomb_is_stopped_before_it_fills_the_memory(vendor: Vendor, database: Path) -> None:
    serve_bytes(vendor, gzip.compress(b" " * (50 << 20)), **{"Content-Encoding": "gzip"})
    result = read(vendor, database, maxAnswerMiB=1)
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert "more than 1 MiB" in result.message


def test_damaged_gzip_is_a_typed_error(vendor: Vendor, database: Path) -> None:
    serve_bytes(vendor, gzip.compress(GOOD)[:-12], **{"Content-Encoding": "gzip"})
    assert read(vendor, database).reason is Reason.UNREACHABLE
    serve_bytes(vendor, b"not gzip", **{"Content-Encoding": "gzip"})
    assert read(vendor, database).reason is Reason.UNREACHABLE


def test_an_encoding_that_was_not_asked_for_is_refused(vendor: Vendor, database: Path) -> None:
    serve_bytes(vendor, GOOD, **{"Content-Encoding": "br"})
    assert read(vendor, database).reason is Reason.SCHEMA_MISMATCH


def test_lines_and_csv() -> None:
    assert decode.decode(b"# c\n1.2.3.4\r\n\n5.6.7.8", "Lines", "h", "/") == [{"line": "1.2.3.4"}, {"line": "5.6.7.8"}]
    assert decode.decode(b'a,b\n1,"x,y"\n2\n', "CSV", "h", "/") == [{"a": "1", "b": "x,y"}, {"a": "2", "b": None}]


@pytest.mark.parametrize("body", [b'{"a":', b"\x00", b"<x>", b"tru"])
def test_whatever_is_decoded_the_error_is_typed(body: bytes) -> None:
    with pytest.raises(EngineError):
        decode.decode_json(body, "h", "/p")


def test_the_check_proves_the_credentials_and_writes_nothing(vendor: Vendor, database: Path) -> None:
    vendor.json("/ok", {})
    result = sync(plan(spec(vendor.url, [users()]), mode="Check"), database)
    assert result.reason is Reason.COMPLETED
    assert not database.exists()
    vendor.json("/ok", {}, status=401)
    assert sync(plan(spec(vendor.url, [users()]), mode="Check"), database).reason is Reason.CREDENTIALS_REJECTED


def test_a_budget_holds_back_requests(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(25))
    budgets = [{"name": "default", "rates": ["2/1s"], "concurrency": 1}]
    begun = time.monotonic()
    assert read(vendor, database, budgets=budgets).reason is Reason.COMPLETED
    assert len(vendor.seen) == 3
    assert time.monotonic() - begun >= 0.9
