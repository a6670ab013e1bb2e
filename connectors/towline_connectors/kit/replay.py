"""Answers a connector's requests from recorded traffic (HAR), over real HTTP on loopback, whatever their host.

`matching` tells which recorded answer fits a request. A request without an answer is kept in `unanswered` and
reported to `missed`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urljoin, urlsplit

from aiohttp import web

from towline_connectors.kit import har
from towline_connectors.kit.har import Entry
from towline_connectors.kit.matching import Asked, Matcher
from towline_connectors.kit.shown import as_stored

MAX_REQUEST = 64 << 20  # bytes


@dataclass(frozen=True, slots=True)
class Recording:
    """The exchanges of one or more HAR files, in their order."""

    entries: list[Entry] = field(default_factory=list)

    @classmethod
    def load(cls, *files: Path | str) -> Recording:
        """Raises ValueError when a file is no HAR."""
        return cls(_without_detours(har.load(*files)))

    def hosts(self) -> list[str]:
        """Each host that was talked to, once."""
        return list(dict.fromkeys(entry.host for entry in self.entries))


def _without_detours(entries: list[Entry]) -> list[Entry]:
    """The exchanges without redirects that the recording's client followed, as to the cloud of its account: Towline
    follows none to another host, but its user would have set the address that answers."""
    answered = {(entry.method, entry.url) for entry in entries if entry.status < 300}

    def followed(entry: Entry) -> bool:
        target = next((value for name, value in entry.headers if name == "location"), "")
        url = urlsplit(urljoin(entry.url, target))
        return (entry.method, f"{url.scheme}://{url.netloc}{unquote(url.path)}") in answered

    return [entry for entry in entries if not (300 <= entry.status < 400 and followed(entry))]


class Replay:
    """A recording being served. `unanswered` has the requests that it could not answer."""

    def __init__(self, recording: Recording, *, lenient: bool) -> None:
        entries = [as_stored(entry) for entry in recording.entries] if lenient else recording.entries
        self._matcher = Matcher(entries, lenient=lenient)
        self.url = ""
        self.begin()

    def begin(
        self,
        aliases: Mapping[str, str] | None = None,
        missed: Callable[[], None] = lambda: None,
        others: frozenset[int] = frozenset(),
        parents: frozenset[tuple[str, ...]] = frozenset(),
    ) -> None:
        """Begin with another stream. `aliases`: paths that were recorded under another one. `others`: the numbers of
        entries that only other streams ask for. `parents`: the resources that the stream reads for its pieces."""
        self._matcher.next_stream(others, parents)
        self._aliases = dict(aliases or {})
        self._missed = missed
        self.answered = 0
        self.unanswered: list[str] = []
        self.unknown = 0  # of the unanswered ones, those whose method and path the recording does not have at all
        self.asked: list[tuple[str, str]] = []  # (method, path) of the answers given, as recorded
        self.paths: list[str] = []  # as they were asked for

    def left(self) -> dict[tuple[str, str], int]:
        """Of what was asked, how many recorded answers nobody fetched."""
        counts = {place: self._matcher.unused(*place) for place in dict.fromkeys(self.asked)}
        return {place: count for place, count in counts.items() if count}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = self._aliases.get(request.path, request.path)
        asked = Asked(
            method=request.method,
            path=path,
            query=tuple(request.query.items()),
            body=await request.read(),
            content_type=request.headers.get("Content-Type", ""),
            host=request.headers.get("Host", ""),
        )
        entry = self._matcher.answer(asked)
        if entry is None:
            self.unanswered.append(f"{request.method} {request.path_qs}")
            self.unknown += not self._matcher.has(asked)
            self._missed()
            return web.json_response({"error": "the recording has no answer to this request"}, status=404)
        self.answered += 1
        self.asked.append((request.method, entry.path))
        self.paths.append(request.path)
        response = web.Response(status=entry.status, body=entry.body)
        response.headers.popall("Content-Type", None)
        for name, value in entry.headers:
            response.headers.add(name, value)
        return response


@contextmanager
def replaying(recording: Recording, *, lenient: bool = False) -> Iterator[Replay]:
    """Serve a recording on loopback; pass its `url` to `run` as `reroute`."""
    replay = Replay(recording, lenient=lenient)
    app = web.Application(client_max_size=MAX_REQUEST)
    app.router.add_route("*", "/{tail:.*}", replay.handle)
    with serving(app) as url:
        replay.url = url
        yield replay


@contextmanager
def serving(application: web.Application, host: str = "127.0.0.1") -> Iterator[str]:
    """The application on a free port of this machine, in a thread of its own; gives its URL."""
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, host, 0).start()
        port: int = runner.addresses[0][1]
        return port

    thread = threading.Thread(target=loop.run_forever, name="server", daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{asyncio.run_coroutine_threadsafe(start(), loop).result(30)}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
