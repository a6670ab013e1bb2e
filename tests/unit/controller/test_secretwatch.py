"""Changed Secrets by a watch: who is woken, and what happens when the watch fails."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from aiohttp import web
from tests.unit.controller.test_feed_and_parts import api_server

from towline.controller.queue import Key
from towline.controller.secretwatch import SecretUsers, SecretWatch
from towline.kube.resources import SECRETS
from towline.kube.secrets import Facts

ONE, TWO, OTHER = (Key("Integration", "ns", name) for name in ("one", "two", "other"))


def meta(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "namespace": "ns", "uid": f"u-{name}", "resourceVersion": str(version)}}


def event(change: str, obj: dict[str, Any]) -> bytes:
    return json.dumps({"type": change, "object": obj}).encode() + b"\n"


class Server:
    """Answers watches one after another with what a test says; notes what it was asked."""

    def __init__(self, *answers: list[bytes] | int) -> None:
        self.answers = list(answers)
        self.queries: list[dict[str, str]] = []
        self.accepted: list[str] = []
        self.hold = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            return web.json_response({**meta("api", 5), "data": {"token": "eA=="}})
        self.queries.append(dict(request.query))
        self.accepted.append(request.headers["Accept"])
        answer = self.answers.pop(0) if self.answers else []
        if isinstance(answer, int):
            return web.json_response({"kind": "Status"}, status=answer)
        stream = web.StreamResponse()
        await stream.prepare(request)
        for piece in answer:
            await stream.write(piece)
        if not self.answers:
            await self.hold.wait()
        return stream


async def watched(server: Server, done: Any) -> tuple[list[Key], Facts]:
    woken: list[Key] = []
    async with api_server(server.handle) as client:
        facts, users = Facts(client), SecretUsers()
        users.note(ONE, {"api"})
        users.note(TWO, {"api", "proxy"})
        users.note(OTHER, {"other"})
        await facts.read(SECRETS, "ns", "api", 0)
        task = asyncio.create_task(SecretWatch(client, facts, users, woken.append, ("ns",)).run())
        for _ in range(3000):
            if done(woken):
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        server.hold.set()
        await asyncio.wait({task})
    return woken, facts


async def test_a_changed_secret_wakes_those_who_name_it_and_nobody_else() -> None:
    changed = event("MODIFIED", meta("api", 6))
    # The first is what is there already; a line may come in pieces.
    server = Server([event("ADDED", meta("api", 5)), event("ADDED", meta("helm", 9)), changed[:20], changed[20:]])
    woken, _ = await watched(server, lambda woken: len(woken) >= 2)
    assert sorted(woken) == [ONE, TWO]
    assert "PartialObjectMetadata" in server.accepted[0], "values are never asked for"
    assert "resourceVersion" not in server.queries[0]


async def test_a_deleted_secret_is_news_once() -> None:
    server = Server([event("DELETED", meta("api", 6)), event("ADDED", meta("other", 7))])
    woken, _ = await watched(server, lambda woken: len(woken) >= 3)
    assert sorted(woken) == [ONE, OTHER, TWO]


async def test_a_watch_that_ends_goes_on_where_it_was_and_an_old_version_begins_anew() -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "40"}})
    gone = event("ERROR", {"kind": "Status", "code": 410})
    server = Server([bookmark], [gone], [event("MODIFIED", meta("api", 41))])
    woken, _ = await watched(server, lambda woken: len(woken) >= 2)
    assert [query.get("resourceVersion") for query in server.queries] == [None, "40", None]
    assert sorted(woken) == [ONE, TWO]


async def test_a_watch_that_is_not_allowed_stops_nothing() -> None:
    server = Server(403, [])
    woken, _ = await watched(server, lambda _: len(server.queries) >= 1)
    assert woken == []
    assert len(server.queries) == 1, "it is not asked again and again"


def test_who_names_a_secret_no_longer_is_forgotten() -> None:
    users = SecretUsers()
    users.note(ONE, {"a", "b"})
    users.note(TWO, {"a"})
    users.note(ONE, {"b"})
    assert users.of("ns", "a") == {TWO}
    users.note(ONE, ())
    users.note(TWO, ())
    assert (users.of("ns", "a"), users.of("ns", "b")) == (set(), set())
    assert not users._users
    assert not users._named
