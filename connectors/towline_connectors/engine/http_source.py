"""An HTTP API as a `Source`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from towline.api.base import seconds
from towline.api.http import Request
from towline.api.manifest import Stream
from towline_connectors.engine import tls
from towline_connectors.engine.caller import Call, Caller
from towline_connectors.engine.certificates import Lifetime
from towline_connectors.engine.errors import ConfigInvalid, InvalidManifest
from towline_connectors.engine.http import MAX_BODY, Client
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.reading.chain import Chain
from towline_connectors.engine.reading.export import Exporter
from towline_connectors.engine.reading.fetch import Fetcher
from towline_connectors.engine.reading.partitions import Partitioned
from towline_connectors.engine.source import Origin, Page, Reading, Setup, Source


class HttpSource:
    """See source.Source. `scope` holds config and secret."""

    def __init__(self, setup: Setup, scope: Scope) -> None:
        http = setup.spec.http
        if http is None:
            raise InvalidManifest("The connector has no http section.")
        base = setup.text(http.base_url)
        self._spec = setup.spec
        self._scope = scope
        self._client = Client(
            setup.allowed_hosts,
            plain_http=base.startswith("http://"),
            timeout=float(seconds(http.timeout)) if http.timeout else 60.0,
            ca_bundle=setup.ca_bundle,
            proxy=setup.proxy,
            reroute=setup.reroute,
            max_body=http.max_answer_mib << 20 if http.max_answer_mib else MAX_BODY,
            gate=setup.gate,
            tls=tls.configured(http.tls, scope) if setup.reroute is None else None,
        )
        self._client.check_host(base)
        self._caller = Caller(http, setup, scope, self._client)

    @property
    def counts(self) -> dict[str, int]:
        """Answers by class: 2xx, 429, error …"""
        return dict(self._client.counts)

    @property
    def received(self) -> int:
        """Bytes of the answers, before inflating."""
        return self._client.received

    @property
    def certificate(self) -> Lifetime | None:
        """How long the system's certificates are valid, as far as they were seen."""
        return self._client.certificate

    async def check(self) -> None:
        health = self._spec.health
        if health is None:
            for stream in self._spec.streams or []:
                if stream.request is not None and not stream.partitions:
                    await self._caller.send(self._call(stream, stream.request))
                    return
            raise InvalidManifest("The connector has neither a health call nor a stream that could prove credentials.")
        await self._caller.prove(health, self._scope)

    async def origin(self, stream: Stream) -> Origin:
        return Origin()

    async def read(self, reading: Reading) -> AsyncIterator[Page]:
        async with aclosing(self._pages(reading)) as pages:
            async for page in pages:
                page.unreadable += self._caller.take_skipped()
                yield page
        if left := self._caller.take_skipped():
            yield Page([], unreadable=left)

    async def _pages(self, reading: Reading) -> AsyncGenerator[Page, None]:
        stream = reading.stream
        if stream.export is not None:
            form = stream.format or "JSON"
            fetcher = Fetcher(self._caller, form, stream.records, stream.parse, whole=False, unread=True)
            exporter = Exporter(stream.export, self._caller, self._scoped(reading), fetcher, stream.budget)
            async with aclosing(exporter.read(reading, form)) as exported:
                async for page in exported:
                    yield page
            return
        scope = self._scoped(reading)
        if stream.partitions:
            streams = {one.name: one for one in self._spec.streams or []}
            pages = Partitioned(stream, streams, self._caller, scope).pages(reading)
        else:
            pages = Chain(stream, self._caller, reading.cursor_of, unread=True).pages(scope, reading.window)
        async with aclosing(pages):
            async for page in pages:
                if stream.partitions:
                    page.expected = None  # of one part, not of the stream
                yield page

    async def close(self) -> None:
        try:
            await self._caller.close()
        finally:
            await self._client.close()

    def _scoped(self, reading: Reading) -> Scope:
        stream, window = reading.stream, reading.window
        about = {"name": stream.name, "permission": stream.permission}
        token = window.start if stream.sync.token is not None and not window.full else None
        told = {"start": window.start, "full": window.full, "now": window.now, "token": token}
        return {**self._scope, "stream": about, "window": told}

    def _call(self, stream: Stream, request: Request) -> Call:
        scope = {**self._scope, "stream": {"name": stream.name, "permission": stream.permission}, "window": {}}
        form, parse = stream.format or "JSON", stream.parse
        return self._caller.call(request, scope, budget=stream.budget, phase=None, form=form, parse=parse)


def open_source(setup: Setup, scope: Scope) -> Source:
    """Raises ConfigInvalid, HostNotAllowed, KeyMissing."""
    if setup.spec.http is None:
        raise ConfigInvalid("The connector does not speak HTTP.")
    return HttpSource(setup, scope)
