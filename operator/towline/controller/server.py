"""The operator's HTTP server: is it alive, is it ready, what are its metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from aiohttp import web

_BEAT_SECONDS = 1.0
MAX_LAG_SECONDS = 30.0


class Heartbeat:
    """Notices when the event loop is held up."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()

    async def run(self) -> None:
        """Beat until cancelled."""
        while True:
            self._last = self._clock()
            await asyncio.sleep(_BEAT_SECONDS)

    @property
    def lag(self) -> float:
        """Seconds by which the last beat is late."""
        return max(0.0, self._clock() - self._last - _BEAT_SECONDS)


def application(
    dead: Callable[[], str], waiting: Callable[[], str], metrics: Callable[[], Callable[[], bytes]]
) -> web.Application:
    """`dead` and `waiting` tell why the operator is not alive or not ready; nothing when it is. What `metrics` returns
    makes the page, in another thread and one at a time: with many Integrations that takes a while."""
    one = asyncio.Lock()

    async def answer(why: str) -> web.Response:
        return web.Response(text=f"{why or 'ok'}\n", status=503 if why else 200)

    async def livez(_: web.Request) -> web.Response:
        return await answer(dead())

    async def readyz(_: web.Request) -> web.Response:
        return await answer(waiting())

    async def page(_: web.Request) -> web.Response:
        async with one:
            body = await asyncio.to_thread(metrics())
        return web.Response(body=body, headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app = web.Application()
    app.add_routes([web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", page)])
    return app


async def serve(app: web.Application, host: str, port: int) -> web.AppRunner:
    """Start listening; `cleanup()` of what is returned ends it. Raises OSError when the port is taken."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner
