"""A vendor's API on loopback for the engine's tests: a real server in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Vendor:
    """`seen` has every request that came: (method, path, query)."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.headers: list[dict[str, str]] = []
        self.routes: dict[tuple[str, str], Handler] = {}
        self.url = ""

    def on(self, method: str, path: str) -> Callable[[Handler], Handler]:
        def keep(handler: Handler) -> Handler:
            self.routes[method, path] = handler
            return handler

        return keep

    def json(self, path: str, value: Any, method: str = "GET", status: int = 200, **headers: str) -> None:
        async def handler(_request: web.Request) -> web.Response:
            return web.json_response(value, status=status, headers=headers)

        self.routes[method, path] = handler

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path, dict(request.query)))
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        handler = self.routes.get((request.method, request.path))
        if handler is None:
            return web.json_response({"error": "no such path"}, status=404)
        return await handler(request)

    def paths(self) -> list[str]:
        return [path for _method, path, _query in self.seen]


@contextmanager
def serving(vendor: Vendor) -> Iterator[Vendor]:
    loop = asyncio.new_event_loop()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", vendor.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port: int = runner.addresses[0][1]
        return port

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        port = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
        vendor.url = f"http://127.0.0.1:{port}"
        yield vendor
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
