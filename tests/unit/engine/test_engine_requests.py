"""What a manifest's request looks like on the wire: bodies, queries, references, links."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from tests.unit.engine.plans import plan, spec, sync, users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.api.connector import ConnectorSpec
from towline.api.http import Request
from towline_connectors.engine.caller import Call, Caller, with_query
from towline_connectors.engine.errors import ConfigInvalid, SchemaMismatch
from towline_connectors.engine.http import Client, HttpRequest
from towline_connectors.engine.interpolate import Scope, Secrets, fill
from towline_connectors.engine.source import Setup

ONE = {"items": [{"id": "u1", "name": "A", "mail": "a@b"}]}
SCOPE: Scope = {
    "config": {"tenant": "<a&b>", "regions": ["eu", "us"], "none": None},
    "secret": Secrets({"token": "tok-123", "user": "u"}),
    "window": {"start": "2026-01-01T00:00:00Z", "full": False},
}


def caller(url: str, **http: Any) -> Caller:
    manifest = ConnectorSpec.model_validate(spec(url, [users()], **http))
    assert manifest.http is not None
    setup = Setup(
        manifest,
        text=lambda template: fill(template, SCOPE),
        value=lambda value: value,
        allowed_hosts=("127.0.0.1", "localhost"),
    )
    return Caller(manifest.http, setup, SCOPE, Client(("127.0.0.1", "localhost"), plain_http=True))


def made(request: dict[str, Any], scope: Scope | None = None) -> Call:
    found = caller("http://127.0.0.1:1/api")
    return found.call(Request.model_validate(request), {**SCOPE, **(scope or {})}, budget=None, phase=None)


@pytest.mark.parametrize(
    ("request_", "content_type", "body"),
    [
        ({"json": {"a": "=window.start", "b": ["${config.tenant}"], "c": "=config.none"}}, "application/json",
         b'{"a":"2026-01-01T00:00:00Z","b":["<a&b>"]}'),
        ({"form": {"a": "x y", "b": "=config.regions", "c": "=config.none", "d": 1, "e": "${config.tenant}"}},
         "application/x-www-form-urlencoded", b"a=x+y&b=eu&b=us&d=1&e=%3Ca%26b%3E"),
        ({"text": "<q>${config.tenant}</q>"}, "application/xml; charset=utf-8", b"<q>&lt;a&amp;b&gt;</q>"),
        ({"text": "search ${config.tenant}"}, "text/plain; charset=utf-8", b"search <a&b>"),
        ({"graphql": {"query": "query($t: String) { a(t: $t) { id } }", "variables": {"t": "=config.tenant"}}},
         "application/json",
         b'{"query":"query($t: String) { a(t: $t) { id } }","variables":{"t":"<a&b>"}}'),
        ({"jsonRPC": {"method": "get", "params": [{"url": "/x", "session": "${session.key}"}]}}, "application/json",
         b'{"jsonrpc":"2.0","id":1,"method":"get","params":[{"url":"/x","session":"k\\"1"}]}'),
    ],
)  # fmt: skip
def test_a_body_is_written_as_its_kind_wants(request_: dict[str, Any], content_type: str, body: bytes) -> None:
    call = made({"path": "/x", **request_})
    assert call.method == "POST"
    assert call.body is not None
    assert call.body.content_type == content_type
    assert call.body.encode({"key": 'k"1'}) == body


def test_a_query_repeats_lists_and_leaves_out_what_is_null() -> None:
    call = made({"path": "/x?a=0&k=1", "query": {"a": "=config.regions", "b": "=config.none", "c": "=window.full"}})
    assert call.url == "http://127.0.0.1:1/api/x?k=1&a=eu&a=us&c=false"
    assert with_query("http://h/x", {"f": {"a": 1}}) == "http://h/x?f=%7B%22a%22%3A1%7D"


@pytest.mark.parametrize(
    ("path", "part", "url"),
    [
        ("/p/${part}", "a/b", "http://127.0.0.1:1/api/p/a%2Fb"),
        ("/p/${part}", "https://evil.example/x", "http://127.0.0.1:1/api/p/https%3A%2F%2Fevil.example%2Fx"),
        ("${part}", "https://store.example/x?sig=1", "https://store.example/x?sig=1"),
        ("${part}", "a/b", "http://127.0.0.1:1/api/a%2Fb"),
    ],
)
def test_a_link_of_the_vendor_is_one_only_where_it_is_the_whole_path(path: str, part: str, url: str) -> None:
    assert made({"path": path}, {"part": part}).url == url


async def test_a_link_to_another_host_is_followed_without_credentials(vendor: Vendor) -> None:
    vendor.json("/file", ONE)
    here = caller(vendor.url, headers={"X-Account": "${secret.user}"})
    there = vendor.url.replace("127.0.0.1", "localhost")
    for link in (f"{vendor.url}/file", f"{there}/file"):
        call = here.call(Request(path="${part}"), {**SCOPE, "part": link}, budget=None, phase=None)
        assert (await here.send(call)).value == ONE
    own, foreign = vendor.headers
    assert (own["authorization"], own["x-account"]) == ("Bearer tok-123", "u")
    assert "authorization" not in foreign
    assert "x-account" not in foreign
    await here.client.close()


async def test_an_answer_can_be_read_in_pieces_and_is_bounded(vendor: Vendor) -> None:
    failures = [503]

    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(body=b"x" * 3_000_000, status=failures.pop() if failures else 200)

    found = caller(vendor.url)
    call = found.call(Request(path="/users"), SCOPE, budget=None, phase=None)
    async with found.open(call) as stream:
        assert stream is not None
        sizes = [len(piece) async for piece in stream.chunks(4_000_000)]
    assert sum(sizes) == 3_000_000
    assert len(sizes) > 1
    async with found.open(call) as stream:
        assert stream is not None
        with pytest.raises(SchemaMismatch, match="more than 1 MiB"):
            _ = [piece async for piece in stream.chunks(1 << 20)]
    await found.client.close()


async def test_a_rule_on_a_good_answer_holds_for_one_that_is_read_in_pieces(vendor: Vendor) -> None:
    rules = [{"when": {"status": [200], "body": {"path": "none"}}, "class": "Empty"}]
    vendor.json("/users", {"none": True})
    found = caller(vendor.url, errors=rules)
    call = found.call(Request(path="/users"), SCOPE, budget=None, phase=None)
    async with found.open(call) as stream:
        assert stream is None
    vendor.json("/users", ONE)
    async with found.open(call) as stream:
        assert stream is not None
        assert json.loads(b"".join([piece async for piece in stream.chunks(1 << 20)])) == ONE
    await found.client.close()


def test_a_form_reaches_the_vendor(vendor: Vendor, database: Path) -> None:
    bodies: list[str] = []

    @vendor.on("POST", "/users")
    async def handler(request: web.Request) -> web.Response:
        bodies.append(await request.text())
        return web.json_response(ONE)

    stream = users(request={"path": "/users", "form": {"search": "=window.now", "t": "1"}}, paginate=None)
    assert sync(plan(spec(vendor.url, [stream])), database).reason is Reason.COMPLETED
    assert dict(parse_qsl(bodies[0]))["t"] == "1"
    assert vendor.headers[0]["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_no_redirect_carries_a_body_or_leaves_the_host(vendor: Vendor, status: int) -> None:
    vendor.json("/a", {}, "POST", status, Location="/b")
    found = Client(("127.0.0.1", "localhost"), plain_http=True)
    with pytest.raises(ConfigInvalid, match="redirects POST /a; Towline sends no body or signature a second time"):
        await found.send(HttpRequest("POST", f"{vendor.url}/a", {}, b"x", "/a"))
    vendor.json("/a", {}, "GET", status, Location=vendor.url.replace("127.0.0.1", "localhost") + "/b")
    with pytest.raises(ConfigInvalid, match="redirects GET /a to localhost"):
        await found.send(HttpRequest("GET", f"{vendor.url}/a", {"authorization": "x"}, None, "/a"))
    assert vendor.paths() == ["/a", "/a"]
    await found.close()
