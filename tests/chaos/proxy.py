"""Stands between the operator and the API server, and breaks things as a bad day would.

Plain HTTP towards the operator, the kubeconfig's credentials towards the server. Watches are passed on line by line.
Which request meets a fault is decided by a seeded generator, so that a run can be repeated.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web
from kubernetes import client, config

_HOP = {"connection", "transfer-encoding", "content-length", "content-encoding", "host", "keep-alive"}


@dataclass
class Faults:
    """What goes wrong, changed from the test's thread at any time. Rates are between 0 and 1."""

    refuse: float = 0.0
    """Close the connection before anything is sent."""
    delay: float = 0.0
    """Seconds before each answer."""
    truncate: float = 0.0
    """Half of the answer, then the end."""
    status: int = 0
    """Answer with this instead of asking the server: 410, 429, 503 …"""
    status_rate: float = 1.0
    ambiguous: float = 0.0
    """Perform a write, then close the connection instead of answering."""
    hold: str = ""
    """Keep writes whose path has this in it waiting, until it is taken back."""
    hang: bool = False
    """Take requests and never answer."""
    swallow: float = 0.0
    """Lose an event of a watch."""
    stale_version: str = ""
    """Answer lists as they were at this resourceVersion."""
    cut_watches: bool = False
    """End all watches, and let none begin."""


@dataclass
class Proxy:
    """One proxy, in a thread of its own."""

    kubeconfig: Path
    seed: int
    faults: Faults = field(default_factory=Faults)
    injected: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    writes: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._loop = asyncio.new_event_loop()
        self._started = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)

    def start(self, folder: Path) -> Path:
        """Listen; the kubeconfig that leads here."""
        self._thread.start()
        assert self._started.wait(30), "the proxy did not start"
        path = folder / f"proxy-{self.port}.kubeconfig"
        cluster = {"name": "p", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "p", "context": {"cluster": "p", "user": "p"}}
        document = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
        document |= {"users": [{"name": "p", "user": {}}], "current-context": "p"}
        path.write_text(json.dumps(document))
        return path

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)

    def heal(self) -> None:
        self.faults = Faults()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(lambda _loop, _context: None)  # connections that end badly are its business
        self._loop.run_until_complete(self._serve())
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.close()

    async def _serve(self) -> None:
        settings = client.Configuration()
        config.load_kube_config(str(self.kubeconfig), client_configuration=settings)
        context = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        if settings.cert_file:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        self._token = str((settings.api_key or {}).get("authorization", ""))
        self._server = settings.host.rstrip("/")
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(
            connector=connector, auto_decompress=False, timeout=aiohttp.ClientTimeout(total=None)
        ) as self._session:
            app = web.Application(client_max_size=32 << 20)
            app.router.add_route("*", "/{tail:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self.port = runner.addresses[0][1]
            self._started.set()
            await self._stop.wait()
            with suppress(Exception):
                await runner.cleanup()

    def _hit(self, what: str, rate: float) -> bool:
        if rate <= 0 or self._random.random() >= rate:
            return False
        self.injected[what] += 1
        return True

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        faults = self.faults
        self.requests += 1
        write, watch = request.method != "GET", "watch" in request.query
        self.writes += write
        while write and self.faults.hold and self.faults.hold in request.path:  # noqa: ASYNC110  set by another thread
            await asyncio.sleep(0.02)
        if faults.hang:
            self.injected["hang"] += 1
            await asyncio.sleep(3600)
        if (watch and faults.cut_watches) or self._hit("refuse", faults.refuse):
            return self._cut(request)
        if faults.delay:
            self.injected["delay"] += 1
            await asyncio.sleep(faults.delay)
        if faults.status and self._hit(str(faults.status), faults.status_rate):
            reason = {410: "Expired", 429: "TooManyRequests"}.get(faults.status, "ServiceUnavailable")
            body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": faults.status}
            return web.json_response(body, status=faults.status, headers={"Retry-After": "1"})
        try:
            return await self._forward(request, faults, write, watch)
        except (ConnectionError, aiohttp.ClientError):  # the operator or the server has gone meanwhile
            return self._cut(request)

    async def _forward(self, request: web.Request, faults: Faults, write: bool, watch: bool) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        headers["Accept-Encoding"] = "identity"
        if self._token:
            headers["Authorization"] = self._token
        query = dict(request.query)
        if faults.stale_version and not write and not watch and "limit" in query and "continue" not in query:
            query |= {"resourceVersion": faults.stale_version, "resourceVersionMatch": "Exact"}
            self.injected["stale"] += 1
        body = await request.read()
        async with self._session.request(
            request.method, self._server + request.path, params=query, data=body or None, headers=headers
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            if watch:
                return await self._stream(request, answer, kept)
            raw = await answer.read()
            if write and answer.status < 300 and self._hit("ambiguous", faults.ambiguous):
                return self._cut(request)
            if self._hit("truncate", faults.truncate):
                response = web.StreamResponse(status=answer.status, headers=kept | {"Content-Length": str(len(raw))})
                await response.prepare(request)
                await response.write(raw[: len(raw) // 2])
                return self._cut(request, response)
            return web.Response(body=raw, status=answer.status, headers=kept)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str]
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, headers=headers)
        await response.prepare(request)
        waiting: asyncio.Task[bytes] | None = None
        try:
            while not self.faults.cut_watches:
                waiting = waiting or asyncio.ensure_future(answer.content.readline())
                done, _ = await asyncio.wait({waiting}, timeout=0.2)
                if not done:
                    continue
                line, waiting = waiting.result(), None
                if not line:
                    break
                if not self._hit("swallow", self.faults.swallow):
                    await response.write(line)
        except (aiohttp.ClientError, ConnectionError, asyncio.IncompleteReadError, ValueError):
            return self._cut(request, response)
        finally:
            if waiting is not None:
                waiting.cancel()
        if self.faults.cut_watches:
            self.injected["watch cut"] += 1
        return self._cut(request, response)

    def _cut(self, request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
        """End the connection as a network does: without a word."""
        if request.transport is not None:
            request.transport.abort()
        return response or web.Response(status=500)
