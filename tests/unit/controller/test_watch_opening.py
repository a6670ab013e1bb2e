"""A watch that the API server takes and never answers is opened again soon, by both who watch."""

import asyncio
from pathlib import Path

import kopf
import pytest
from aiohttp import web
from tests.unit.controller.test_feed_and_parts import api_server

from towline.controller.feed import connection
from towline.kube import opening
from towline.kube.access import Access
from towline.kube.errors import UnavailableError
from towline.kube.resources import SECRETS


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "SECONDS", 0.3)


class Forgetful:
    """Never answers what it is asked while it hangs; else one event, late, in a watch, and late answers."""

    def __init__(self) -> None:
        self.hangs = True
        self.over = asyncio.Event()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if self.hangs:
            await self.over.wait()
        if "watch" not in request.query:
            await asyncio.sleep(0.6)
            return web.json_response({"metadata": {"name": "a", "resourceVersion": "7"}})
        stream = web.StreamResponse()
        await stream.prepare(request)
        await asyncio.sleep(0.6)
        await stream.write(b'{"type": "ADDED", "object": {"metadata": {"name": "a"}}}\n')
        return stream


async def test_the_client_gives_up_a_watch_that_does_not_begin_and_nothing_else() -> None:
    server = Forgetful()
    async with api_server(server.handle) as client:
        async with asyncio.timeout(20):
            with pytest.raises(UnavailableError, match="TimeoutError"):
                await anext(client.watch_metadata(SECRETS))
        server.hangs = False
        assert [change async for change, _ in client.watch_metadata(SECRETS)] == ["ADDED"]
        assert (await client.get(SECRETS, "ns", "a"))["metadata"]["resourceVersion"] == "7"
        server.over.set()


async def test_so_does_the_session_that_kopf_watches_with() -> None:
    server = Forgetful()
    async with api_server(server.handle) as client:
        login = await connection(client._access)
        assert isinstance(login, kopf.AiohttpSession)
        async with login.aiohttp_session as session:
            place = f"{login.server}/apis/towline.dev/v1alpha1/integrations"
            async with asyncio.timeout(20):
                with pytest.raises(TimeoutError):
                    await session.get(place, params={"watch": "true"})
            server.hangs = False
            async with session.get(place, params={"watch": "true"}) as answer:
                assert b"ADDED" in await answer.read()
            async with session.get(place, params={"limit": "500"}) as answer:
                assert answer.status == 200
        server.over.set()


async def test_kopf_is_given_the_token_as_it_is_now(tmp_path: Path) -> None:
    file = tmp_path / "token"
    for token in ("first", "second"):
        file.write_text(token + "\n")
        login = await connection(Access("http://127.0.0.1:1", token_file=str(file)))
        assert login.aiohttp_session.headers["Authorization"] == f"Bearer {token}"
        assert login.expiration is not None
        await login.aiohttp_session.close()
