"""The simulator with a fault in front, in a process of its own; so that a run can be killed beside it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import struct
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from aiohttp import web

from towline.api.connector import ConnectorSpec
from towline_connectors.kit.conformance.faults import Fault, Faulty
from towline_connectors.kit.conformance.shared import Shared

_PORTS = struct.Struct("<HH")


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    shared: Shared


@contextmanager
def serving(
    application: Callable[[], web.Application], spec: ConnectorSpec, fault: Fault, port: int = 0
) -> Iterator[Server]:
    """Fork, serve on this machine, and end the process afterwards; 0 is any free port. Call it while there is one
    thread."""
    shared = Shared()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _serve(application, spec, fault, shared, writing, port)
    os.close(writing)
    try:
        told = os.read(reading, _PORTS.size)
        if len(told) < _PORTS.size:
            raise RuntimeError("the simulator did not start; try it with towline simulate")
        port, _foreign = _PORTS.unpack(told)
        yield Server(f"http://127.0.0.1:{port}", shared)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _serve(
    application: Callable[[], web.Application], spec: ConnectorSpec, fault: Fault, shared: Shared, told: int, port: int
) -> None:
    """The child. Never returns."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable(logging.CRITICAL)
    code = 1
    try:
        asyncio.run(_both(application, spec, fault, shared, told, port))
        code = 0
    finally:
        os._exit(code)


async def _both(
    application: Callable[[], web.Application], spec: ConnectorSpec, fault: Fault, shared: Shared, told: int, port: int
) -> None:
    async def hit(_request: web.Request) -> web.Response:
        shared.astray += 1
        return web.json_response({})

    stranger = web.Application()
    stranger.router.add_route("*", "/{tail:.*}", hit)
    foreign = await _listen(stranger)
    # Another name for this machine is another host to a client, and reaches us without any DNS.
    faulty = Faulty(fault, spec, shared, f"http://localhost:{foreign}")
    app = application()

    @web.middleware
    async def around(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        return await faulty.around(request, handler)

    app.middlewares.insert(0, around)
    os.write(told, _PORTS.pack(await _listen(app, port), foreign))
    await asyncio.Event().wait()


async def _listen(application: web.Application, wanted: int = 0) -> int:
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", wanted).start()
    port: int = runner.addresses[0][1]
    return port
