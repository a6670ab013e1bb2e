"""A simulated vendor in the bench's own process, which can tell when a connector's first request came."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

from aiohttp import web

from towline_connectors.catalogue.cmdb.servicenow.simulator import Options, application

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_TICKS = os.sysconf("SC_CLK_TCK")


class Vendor:
    """ServiceNow with `records` incidents on a free port of `address`, as long as the context lasts."""

    def __init__(self, address: str, records: int) -> None:
        self._address = address
        self._options = Options(incidents=records)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="vendor", daemon=True)
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._seen: set[int] = set()
        self.start_seconds: list[float] = []
        """For each connector process, the seconds from its start to its first request."""
        self.host = ""

    def __enter__(self) -> Vendor:
        self._thread.start()
        if not self._ready.wait(10):
            raise OSError(f"The simulated vendor cannot listen on {self._address}.")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._main())
        self._loop.close()

    async def _main(self) -> None:
        app = application(self._options)
        app.middlewares.insert(0, self._note)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, self._address, 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.host = f"{host}:{port}"
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    @web.middleware
    async def _note(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # The process waits for its answer now, so it can be found and asked when it was started.
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        for pid, started in _connectors():
            if pid not in self._seen:
                self._seen.add(pid)
                self.start_seconds.append(now - started)
        return await handler(request)


def _connectors() -> list[tuple[int, float]]:
    """Process id and start (seconds since boot) of the connector runs on this machine."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"towline-run" in (folder / "cmdline").read_bytes():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                found.append((int(folder.name), int(fields[19]) / _TICKS))
        except OSError:
            continue
    return found
