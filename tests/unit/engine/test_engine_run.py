from __future__ import annotations

from pathlib import Path
from typing import Any

from aiohttp import web
from tests.unit.engine.plans import plan, rows, spec, sync, users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason


def serve_users(vendor: Vendor, people: list[dict[str, Any]], size: int = 10) -> None:
    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        return web.json_response({"items": people[at : at + size]})


def people(count: int) -> list[dict[str, Any]]:
    return [{"id": f"u{n}", "name": f"User {n}", "mail": f"U{n}@Example.com"} for n in range(count)]


def test_an_offset_paged_stream_ends_in_the_destination(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(25))
    result = sync(plan(spec(vendor.url, [users()])), database)
    assert result.reason is Reason.COMPLETED, result.message
    assert result.streams[0].read == 25
    assert result.streams[0].upserted == 25
    assert rows(database, "select count(*), min(email_addr) from users") == [(25, "u0@example.com")]
    assert vendor.headers[0]["authorization"] == "Bearer tok-123"
    assert result.http == {"2xx": 3}
