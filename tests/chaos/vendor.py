"""The system that the connectors of the faults read: pages of hosts on loopback, and a Connector for it.

Each account has its own path, so that one vendor can serve many Integrations and count what each of them asks.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from aiohttp import web
from tests.connectors.harness import served

PER_PAGE = 10
TOKEN = "token-a"

CONNECTOR = """
apiVersion: towline.dev/v1alpha1
kind: Connector
metadata: {name: %(name)s}
spec:
  title: Acme
  version: 1.0.0
  category: EDR
  capabilities: [Pull]
  egress: [127.0.0.1]
  credentials: [{key: token}]
  configSchema:
    type: object
    required: [account]
    properties: {account: {type: string, pattern: "^[a-z0-9.-]{1,100}$"}}
  http:
    baseURL: "%(url)s/${config.account}"
    auth: {kind: Bearer, value: "${secret.token}"}
    retry: {attempts: 3, backoff: {initial: 1s, cap: 1s}}
    timeout: 10m
  health: {request: {path: /health}, every: 1m}
  streams:
  - name: hosts
    request: {path: /hosts}
    records: "=items"
    paginate: {kind: Offset, offset: offset, limit: limit, size: 10}
    sync: {mode: Full, deletes: {completeScan: Always}}
    emit: [{entity: asset, key: "=id", fields: {hostname: "=name"}}]
"""


@dataclass
class Vendor:
    """Changed from the test's thread at any time."""

    pages: int = 8
    accepts: dict[str, set[str]] = field(default_factory=dict)
    """Valid tokens by account; TOKEN where nothing else is said."""
    page_seconds: float = 0.0
    """How long a page takes."""
    held_at: int = 0
    """Pages from this number on (1 is the first) wait until it is 0 again. 0: none waits."""
    hanging: set[str] = field(default_factory=set)
    """Accounts whose requests are never answered."""
    garbage: set[str] = field(default_factory=set)
    """Accounts whose answers are no JSON."""
    url: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    """Pages by account."""
    refused: dict[str, list[str]] = field(default_factory=dict)
    """Requests with credentials that are not accepted, by account: path and credentials."""
    waiting: Counter[str] = field(default_factory=Counter)
    """Requests that are held, by account."""

    def expected(self) -> list[str]:
        """The keys of all rows of an account."""
        return [f"h{number:05}" for number in range(self.pages * PER_PAGE)]

    async def health(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request) or web.json_response({})

    async def hosts(self, request: web.Request) -> web.StreamResponse:
        account, offset = request.match_info["account"], int(request.query.get("offset", 0))
        page = offset // PER_PAGE + 1
        self.asked[account] += 1
        if page > 1:
            await asyncio.sleep(self.page_seconds)
        while self.held_at and page >= self.held_at:
            self.waiting[account] = 1
            await asyncio.sleep(0.05)
        self.waiting.pop(account, None)
        if refusal := await self._answer(request):
            return refusal
        numbers = range(offset, min(offset + PER_PAGE, self.pages * PER_PAGE))
        items = [{"id": f"h{number:05}", "name": f"{account}-{number}"} for number in numbers]
        return web.json_response({"items": items})

    async def _answer(self, request: web.Request) -> web.StreamResponse | None:
        account = request.match_info["account"]
        while account in self.hanging:  # noqa: ASYNC110  set from another thread
            await asyncio.sleep(0.2)
        if account in self.garbage:
            return web.Response(body=b"\x00\xff{" * 2000, content_type="application/json")
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.accepts.get(account, {TOKEN}):
            self.refused.setdefault(account, []).append(f"{request.path.rpartition('/')[2]} with {token}")
            return web.json_response({"error": "who are you"}, status=401)
        return None


@contextmanager
def serving(vendor: Vendor) -> Iterator[Vendor]:
    app = web.Application()
    app.router.add_get("/{account}/health", vendor.health)
    app.router.add_get("/{account}/hosts", vendor.hosts)
    with served(app) as url:
        vendor.url = url
        try:
            yield vendor
        finally:  # whoever still waits is let go
            vendor.held_at = 0
            vendor.hanging.clear()
