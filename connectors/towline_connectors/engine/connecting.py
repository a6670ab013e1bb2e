"""Where connections are made: a name is resolved once, every address of it is judged, and those are connected to.

The only module that imports httpcore. Checking a name before httpx resolves it again would be no check: the second
answer may differ from the first. TLS and the Host header go on with the name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

import httpcore

from towline_connectors.engine.addresses import Gate

if "sniffio" not in sys.modules and find_spec("sniffio") is None:
    # httpcore looks for it four times in each request; a search of all folders that fails is never remembered.
    sys.modules["sniffio"] = None  # type: ignore[assignment]

NEXT_AFTER = 0.25  # seconds of silence before the next address is tried as well (RFC 8305)
READ_BYTES = 1 << 18  # at once, as much as asyncio takes from a socket; httpcore would cut it into quarters


async def resolve(host: str, port: int) -> list[str]:
    """Its addresses in the system's order. Raises socket.gaierror."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class GatedBackend(httpcore.AsyncNetworkBackend):
    """httpcore's sockets, behind a gate. Raises AddressNotAllowed where the gate refuses."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._sockets = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109  httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        async def connect(address: str) -> httpcore.AsyncNetworkStream:
            return _Stream(await self._sockets.connect_tcp(address, port, None, local_address, socket_options))

        try:
            async with asyncio.timeout(timeout):
                addresses = await resolve(host, port)
                self._gate.check(host, addresses, port)
                if len(addresses) == 1:
                    return await connect(addresses[0])
                return await _first([connect(address) for address in addresses])
        except TimeoutError:
            raise httpcore.ConnectTimeout from None

    async def connect_unix_socket(self, *_args: Any, **_more: Any) -> httpcore.AsyncNetworkStream:
        raise httpcore.UnsupportedProtocol("sockets of files are not used")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class _Stream(httpcore.AsyncNetworkStream):
    """A connection that reads in large pieces: each piece costs a turn of the event loop and of the HTTP parser."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return await self._stream.read(max(max_bytes, READ_BYTES), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore.AsyncNetworkStream:
        return _Stream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


async def _first(attempts: list[Any]) -> httpcore.AsyncNetworkStream:
    """The first connection that stands; each next attempt begins when one has failed, or after a while of silence."""
    waiting, running, failed = attempts[::-1], set[asyncio.Task[httpcore.AsyncNetworkStream]](), list[BaseException]()
    try:
        while waiting or running:
            if waiting:
                running.add(asyncio.create_task(waiting.pop()))
            done, running = await asyncio.wait(
                running, timeout=NEXT_AFTER if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            good = [task.result() for task in done if task.exception() is None]
            failed += [error for task in done if (error := task.exception()) is not None]
            for spare in good[1:]:
                await spare.aclose()
            if good:
                return good[0]
        raise failed[0]
    finally:
        for attempt in waiting:
            attempt.close()
        for task in running:
            task.cancel()
        for ended in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(ended, httpcore.AsyncNetworkStream):
                await ended.aclose()


def put_behind(transport: Any, gate: Gate) -> None:
    """Make an httpx transport connect through the gate. Raises AttributeError when httpx keeps its pool elsewhere:
    better no connection than one that nobody checks."""
    pool = transport._pool
    if not isinstance(pool, httpcore.AsyncConnectionPool) or not hasattr(pool, "_network_backend"):
        raise AttributeError("httpcore's pool has changed")
    pool._network_backend = GatedBackend(gate)
