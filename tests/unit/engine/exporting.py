"""A vendor that makes exports of a table, for the engine's tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from tests.unit.engine.plans import spec, users
from tests.unit.engine.vendor import Vendor


@dataclass
class Exports:
    """A vendor with export jobs."""

    vendor: Vendor
    parts: dict[int, list[dict[str, Any]]]
    statuses: list[tuple[str, list[int]]] = field(default_factory=list)  # what each poll shows; the last stays
    created: int = 0
    fetched: list[tuple[str, int]] = field(default_factory=list)
    lost: set[str] = field(default_factory=set)
    duplicate: str | None = None
    failed_part: int | None = None
    cancelled: list[str] = field(default_factory=list)

    def serve(self) -> dict[str, Any]:
        @self.vendor.on("POST", "/export")
        async def create(request: web.Request) -> web.Response:
            if self.duplicate:
                return web.json_response({"active": self.duplicate}, status=409)
            self.created += 1
            self.body = await request.json()
            return web.json_response({"uuid": f"job{self.created}"})

        async def handle(request: web.Request) -> web.StreamResponse:
            words = request.path.strip("/").split("/")
            if (request.method, request.path) in self.vendor.routes:
                return await self.vendor.routes[request.method, request.path](request)
            job = words[1]
            if job in self.lost:
                return web.json_response({}, status=404)
            if words[2] == "status":
                status, parts = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
                failed = [self.failed_part] if self.failed_part and job == "job1" else []
                return web.json_response({"status": status, "parts": parts, "failed": failed})
            if words[2] == "cancel":
                self.cancelled.append(job)
                return web.json_response({})
            self.fetched.append((job, int(words[3])))
            return web.json_response(self.parts[int(words[3])])

        plain = self.vendor.handle

        async def routed(request: web.Request) -> web.StreamResponse:
            if request.path.startswith("/export"):
                self.vendor.seen.append((request.method, request.path, dict(request.query)))
                return await handle(request)
            return await plain(request)

        self.vendor.handle = routed  # type: ignore[method-assign]
        errors = [
            {"when": {"status": [409]}, "class": "DuplicateJob", "jobID": "=active"},
            {"when": {"status": [404], "phase": ["Poll", "Fetch"]}, "class": "JobLost"},
        ]
        stream = {
            "name": "users",
            "export": {
                "create": {"path": "/export", "json": {"since": "=epoch(window.start)", "none": "=nothing"}},
                "jobID": "=uuid",
                "poll": {"path": "/export/${job.id}/status", "every": {"initial": "0s", "cap": "0s"}},
                "status": {"from": "=status", "running": ["RUN"], "done": ["DONE"], "failed": ["ERROR"]},
                "parts": "=parts",
                "failedParts": "=failed",
                "streamParts": True,
                "fetch": {"path": "/export/${job.id}/parts/${part}"},
                "cancel": {"path": "/export/${job.id}/cancel"},
            },
            "sync": {
                "mode": "Incremental",
                "cursor": "job_created_at",
                "lookback": "1h",
                "deletes": {"completeScan": "OnFull"},
            },
            "emit": users()["emit"],
        }
        return spec("", [stream], errors=errors)
