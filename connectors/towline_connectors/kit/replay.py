"""Answers a connector's requests from recorded traffic (HAR), over real HTTP on loopback.

A request is answered by an entry of its method and path, whatever its host. Strictly, the query has to be the
same; leniently, parameters may differ: the entry that agrees in most of them answers, each entry once before any
answers again.
"""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aiohttp import web

# Of the connection that was recorded, or no longer true once the body is decoded.
_DROPPED = {"content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive", "date", "server"}


@dataclass(slots=True)
class Entry:
    method: str
    host: str
    path: str
    query: tuple[tuple[str, str], ...]
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    used: int = 0


@dataclass(slots=True)
class Recording:
    """The entries of one or more HAR files, in their order. Raises ValueError when a file is no HAR."""

    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def load(cls, *files: Path | str) -> Recording:
        found: list[Entry] = []
        for file in files:
            try:
                log = json.loads(Path(file).read_text("utf-8"))["log"]
                found.extend(_entry(item) for item in log["entries"])
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                raise ValueError(f"{file} is no HAR file ({type(error).__name__})") from None
        return cls(found)

    def hosts(self) -> list[str]:
        """Each host that was talked to, once."""
        return list(dict.fromkeys(entry.host for entry in self.entries))

    def answer(self, method: str, path: str, query: Iterable[tuple[str, str]], *, lenient: bool) -> Entry | None:
        """The entry that answers a request, marked as used; None if there is none."""
        asked = sorted(query)
        fitting = [entry for entry in self.entries if entry.method == method and entry.path == path]
        if not lenient:
            fitting = [entry for entry in fitting if sorted(entry.query) == asked]
        if not fitting:
            return None
        wanted = dict(asked)

        def rank(entry: Entry) -> tuple[int, int, int]:
            agreeing = sum(wanted.get(name) == value for name, value in entry.query)
            differing = sum(name in wanted and wanted[name] != value for name, value in entry.query)
            return entry.used, differing, -agreeing

        best = min(fitting, key=rank)
        best.used += 1
        return best


def _entry(item: dict[str, Any]) -> Entry:
    request, response = item["request"], item["response"]
    url = urlsplit(request["url"])
    content = response.get("content") or {}
    text = content.get("text") or ""
    body = base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()
    headers = [(h["name"], h["value"]) for h in response.get("headers") or [] if h["name"].lower() not in _DROPPED]
    return Entry(
        method=request["method"].upper(),
        host=url.hostname or "",
        path=url.path or "/",
        query=tuple(parse_qsl(url.query, keep_blank_values=True)),
        status=int(response["status"]),
        headers=[(name, value) for name, value in headers if not name.startswith(":")],
        body=body,
    )


class Replay:
    """A recording being served. `unanswered` has the requests that it could not answer."""

    def __init__(self, recording: Recording, *, lenient: bool) -> None:
        self._recording = recording
        self._lenient = lenient
        self.url = ""
        self.answered = 0
        self.unanswered: list[str] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        entry = self._recording.answer(
            request.method, request.rel_url.raw_path, request.query.items(), lenient=self._lenient
        ) or self._recording.answer(request.method, request.path, request.query.items(), lenient=self._lenient)
        if entry is None:
            self.unanswered.append(f"{request.method} {request.path_qs}")
            return web.json_response({"error": "the recording has no such request"}, status=404)
        self.answered += 1
        response = web.Response(status=entry.status, body=entry.body)
        response.headers.popall("Content-Type", None)
        for name, value in entry.headers:
            response.headers.add(name, value)
        return response


@contextmanager
def replaying(recording: Recording, *, lenient: bool = False) -> Iterator[Replay]:
    """Serve a recording on loopback; pass its `url` to `run` as `reroute`."""
    replay = Replay(recording, lenient=lenient)
    loop = asyncio.new_event_loop()
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{tail:.*}", replay.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port: int = runner.addresses[0][1]
        return port

    thread = threading.Thread(target=loop.run_forever, name="replay", daemon=True)
    thread.start()
    try:
        replay.url = f"http://127.0.0.1:{asyncio.run_coroutine_threadsafe(start(), loop).result(30)}"
        yield replay
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
