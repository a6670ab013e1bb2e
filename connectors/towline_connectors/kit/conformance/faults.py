"""Faults of a vendor's API, put in front of its simulator. Each is real on the wire: what a client sees is what a
broken server, a proxy or a network would send.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from aiohttp import web

from towline.api.connector import ConnectorSpec
from towline_connectors.kit.conformance import records
from towline_connectors.kit.conformance.records import Place
from towline_connectors.kit.conformance.shared import Shared

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Kind = Literal[
    "none", "status", "stall", "cut", "page", "echo", "repeat", "empty", "odd", "foreign", "redirect", "denied"
]  # fmt: skip
PAGE = b"<!DOCTYPE html><html><head><title>towline-conformance</title></head><body>Please log in.</body></html>"


@dataclass(frozen=True, slots=True)
class Fault:
    """`once`: only the first request to each place (method and path without ids) suffers."""

    kind: Kind = "none"
    once: bool = True
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


class Faulty:
    """aiohttp middleware. `foreign` is the URL of a host that no credential may ever reach."""

    def __init__(self, fault: Fault, spec: ConnectorSpec, shared: Shared, foreign: str) -> None:
        self._fault = fault
        self._places = records.places(spec)
        self._data = records.data_paths(spec)
        self._logins = records.login_paths(spec)
        self._links = _links(spec)
        self._shared = shared
        self._foreign = foreign
        self._seen: set[tuple[str, str]] = set()
        self._first: dict[tuple[str, str], web.Response] = {}

    async def around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self._shared.requests += 1
        fault = self._fault
        shape = (request.method, re.sub(r"/[^/]*[0-9][^/]*", "/*", request.path))
        hit = not (fault.once and shape in self._seen)
        match fault.kind:
            case "status" if hit:
                self._mark(shape)
                return web.Response(status=fault.status, headers=dict(fault.headers), text="{}")
            case "denied" if self._is_data(request.path):
                self._mark(shape)
                return web.json_response({"error": "forbidden"}, status=403)
            case "echo" if self._is_data(request.path):
                self._mark(shape)
                sent = "\n".join(f"{name}: {value}" for name, value in request.headers.items())
                body = (await request.read()).decode("utf-8", "replace")
                return web.json_response({"error": f"{request.path_qs}\n{sent}\n{body}"}, status=400)
            case "redirect" if self._is_data(request.path):
                self._mark(shape)
                return web.Response(status=302, headers={"Location": f"{self._foreign}{request.path_qs}"})
            case "stall" if hit:
                self._mark(shape)
                return await self._stall(request)
        response = await handler(request)
        if isinstance(response, web.Response) and isinstance(response.body, bytes) and fault.kind != "none":
            return await self._altered(request, response, response.body, shape, hit)
        return response

    async def _altered(
        self, request: web.Request, response: web.Response, body: bytes, shape: tuple[str, str], hit: bool
    ) -> web.StreamResponse:
        place = self._place(request.path, body)
        match self._fault.kind:
            case "cut" if hit and response.status < 300 and request.method != "HEAD":
                self._mark(shape)
                return self._cut(request, response, body)
            case "page" if hit and place is not None:
                self._mark(shape)
                return web.Response(body=PAGE, content_type="text/html")
            case "empty" if place is not None:
                self._mark(shape)
                self._shared.emptied |= 1 << place.number
                return _with(response, records.emptied(body, place))
            case "odd" if hit and place is not None and place.final:
                changed = records.with_odd(body, place)
                if changed != body:
                    self._mark(shape)
                return _with(response, changed)
            case "repeat" if place is not None:
                if shape not in self._first:
                    self._first[shape] = _with(response, body)
                elif hit:
                    self._mark(shape)
                    return self._first[shape]
            case "foreign":
                return self._led_astray(response, body, shape)
        return response

    def _place(self, path: str, body: bytes) -> Place | None:
        return next((place for place in self._places if place.fits(path) and records.count(body, place)), None)

    def _is_data(self, path: str) -> bool:
        if any(pattern.search(path) for pattern in self._logins):
            return False
        return not self._data or any(pattern.search(path) for pattern in self._data)

    def _mark(self, shape: tuple[str, str]) -> None:
        self._seen.add(shape)
        self._shared.faults += 1

    async def _stall(self, request: web.Request) -> web.StreamResponse:
        self._shared.stalled += 1
        while request.transport is not None and not request.transport.is_closing():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        return web.Response(status=504)

    def _cut(self, request: web.Request, response: web.Response, body: bytes) -> web.StreamResponse:
        kind = response.headers.get("Content-Type", "application/json")
        length = len(body) or 10
        head = f"HTTP/1.1 {response.status} OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
        if request.transport is not None:
            request.transport.write(head.encode() + body[: len(body) // 2])
            request.transport.close()
        return web.Response(status=500)

    def _led_astray(self, response: web.Response, body: bytes, shape: tuple[str, str]) -> web.StreamResponse:
        """With links to the next page that lead to another host."""
        if links := response.headers.popall("Link", []):
            for link in links:
                response.headers.add("Link", re.sub(r"<https?://[^/>]+", f"<{self._foreign}", link))
            if any(re.search(r'rel="?next', link) for link in links):
                self._mark(shape)
            return response
        changed = body
        for find in self._links:
            for url in find(body):
                parts = urlsplit(url)
                changed = changed.replace(f"{parts.scheme}://{parts.netloc}".encode(), self._foreign.encode())
        if changed != body:
            self._mark(shape)
            return _with(response, changed)
        return response


def _with(response: web.Response, body: bytes) -> web.Response:
    headers = {k: v for k, v in response.headers.items() if k.lower() not in ("content-length", "content-type")}
    made = web.Response(status=response.status, headers=headers, body=body)
    if "Content-Type" in response.headers:
        made.headers["Content-Type"] = response.headers["Content-Type"]
    return made


def _links(spec: ConnectorSpec) -> Sequence[Callable[[bytes], list[str]]]:
    """For each stream that follows URLs: what finds them in an answer."""
    follow = [stream.paginate for stream in spec.streams or [] if stream.paginate is not None]
    if not any(paging.kind in ("NextURL", "OData") for paging in follow):
        return []
    name = re.compile(
        rb'(?:next|url|link)[^"<>]{0,20}(?:"\s*:\s*"|>\s*(?:<!\[CDATA\[)?)(https?:(?:[^"<\]]|\\")+)', re.I
    )
    return [lambda body: [url.decode("utf-8", "replace").replace("\\/", "/") for url in name.findall(body)]]


def follows_urls(spec: ConnectorSpec) -> bool:
    """Whether a stream goes on where the answer says."""
    kinds = {stream.paginate.kind for stream in spec.streams or [] if stream.paginate is not None}
    return bool(kinds & {"NextURL", "OData", "LinkHeader"})
