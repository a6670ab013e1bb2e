"""An HTTP API as a `Source`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from towline.api.base import seconds
from towline.api.http import Request
from towline.api.manifest import Stream
from towline_connectors.engine import expressions, tls
from towline_connectors.engine.caller import Call, Caller, Reply
from towline_connectors.engine.errors import ConfigInvalid, InvalidManifest, SchemaMismatch
from towline_connectors.engine.export import Exporter
from towline_connectors.engine.hosts import origin
from towline_connectors.engine.http import MAX_BODY, Client
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.paging import Pager, Turn
from towline_connectors.engine.source import Origin, Page, Reading, Setup, Source
from towline_connectors.engine.values import Mismatch, shown


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
            tls=tls.configured(http.tls, scope) if setup.reroute is None else None,
        )
        self._client.check_host(base)
        self._caller = Caller(http, setup, scope, self._client)

    @property
    def counts(self) -> dict[str, int]:
        """Answers by class: 2xx, 429, error …"""
        return dict(self._client.counts)

    async def check(self) -> None:
        health = self._spec.health
        if health is None:
            for stream in self._spec.streams or []:
                if stream.request is not None:
                    await self._caller.send(self._call(stream, stream.request, {}))
                    return
            raise InvalidManifest("The connector has neither a health call nor a stream that could prove credentials.")
        call = self._caller.call(health.request, self._scope, budget=None, phase=None)
        good = frozenset(health.expect.status) if health.expect and health.expect.status else frozenset()
        await self._caller.send(replace(call, accept=good))

    async def origin(self, stream: Stream) -> Origin:
        return Origin()

    async def read(self, reading: Reading) -> AsyncIterator[Page]:
        stream = reading.stream
        window = {"start": reading.window.start, "full": reading.window.full, "now": reading.window.now}
        extract = _Extract(stream, self._caller.host)
        if stream.export is not None:
            exporter = Exporter(stream.export, self._caller, self._scoped(stream, window), extract, stream.budget)
            async for page in exporter.read(reading, stream.format or "JSON"):
                yield page
            return
        if stream.request is None:
            raise InvalidManifest(f"streams[{stream.name}] has neither request nor export nor search.")
        request = stream.request
        pager = Pager(
            stream.paginate,
            anchored=lambda start: self._call(stream, request, {**window, "start": start}),
            cursor_of=reading.cursor_of,
            start=reading.window.start,
        )
        call: Call | None = pager.first(self._call(stream, request, window))
        while call is not None:
            if origin(call.url) != origin(self._caller.base_url):
                self._client.check_host(call.url)
            reply = await self._caller.send(call)
            records = [] if reply.empty else extract(reply, call)
            yield Page(records)
            call = pager.next(Turn(call, reply, records))

    async def close(self) -> None:
        try:
            await self._caller.close()
        finally:
            await self._client.close()

    def _scoped(self, stream: Stream, window: dict[str, Any]) -> Scope:
        about = {"name": stream.name, "permission": stream.permission}
        return {**self._scope, "stream": about, "window": window}

    def _call(self, stream: Stream, request: Request, window: dict[str, Any]) -> Call:
        scope = self._scoped(stream, window)
        return self._caller.call(request, scope, budget=stream.budget, phase=None, form=stream.format or "JSON")


class _Extract:
    """Finds the records in an answer."""

    def __init__(self, stream: Stream, host: str) -> None:
        self._stream = stream
        self._host = host
        self._records = expressions.compile_expression(stream.records) if stream.records else None

    def __call__(self, reply: Reply, call: Call) -> list[Any]:
        found = reply.value
        if self._records is not None:
            try:
                found = self._records(found)
            except Mismatch:
                found = None
        if isinstance(found, list):
            return found
        if isinstance(found, dict):
            return [found]
        if found is None and self._records is None:
            return []
        if found is None and isinstance(reply.value, dict) and _has_null(reply.value, self._stream.records or ""):
            return []
        where = f"at {self._stream.records}" if self._stream.records else "at its root"
        what = "nothing" if found is None else shown(type(found).__name__)
        raise SchemaMismatch(f"The answer of {self._host} to {call.shown} has {what} {where} where a list should be.")


def _has_null(value: dict[str, Any], path: str) -> bool:
    """Whether a plain path's first name is there, but null: some systems write an empty list so."""
    name = path.removeprefix("=").partition(".")[0].strip('"')
    return name in value


def open_source(setup: Setup, scope: Scope) -> Source:
    """Raises ConfigInvalid, HostNotAllowed, KeyMissing."""
    if setup.spec.http is None:
        raise ConfigInvalid("The connector does not speak HTTP.")
    return HttpSource(setup, scope)
