"""A vendor's table that is read by time of change, for the engine's tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web
from tests.unit.engine.plans import users
from tests.unit.engine.vendor import Vendor

START = datetime(2026, 1, 10, tzinfo=UTC)


@dataclass
class Table:
    """A vendor's table that is read by time of change."""

    vendor: Vendor
    records: list[dict[str, Any]] = field(default_factory=list)
    since: list[str] = field(default_factory=list)

    def put(self, key: str, minute: int, **values: Any) -> None:
        self.records = [one for one in self.records if one["id"] != key]
        at = (START + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M:%S")
        self.records.append({"id": key, "name": key, "mail": "m", "at": at, **values})
        self.records.sort(key=lambda one: (one["at"], one["id"]))

    def serve(self) -> None:
        @self.vendor.on("GET", "/users")
        async def handler(request: web.Request) -> web.Response:
            since, at, limit = request.query["since"], int(request.query["offset"]), int(request.query["limit"])
            self.since.append(since)
            found = [one for one in self.records if one["at"] >= since]
            return web.json_response({"items": found[at : at + limit]}, headers={"X-Total-Count": str(len(found))})


def changing(**sync_: Any) -> dict[str, Any]:
    return users(
        request={"path": "/users", "query": {"since": "${window.start}"}},
        sync={
            "mode": "Incremental",
            "cursor": "=ts(at)",
            "timeFormat": "%Y-%m-%d %H:%M:%S",
            "order": "Ascending",
            "deletes": {"completeScan": "OnFull"},
            **sync_,
        },
    )
