"""What ends a run early: a destination that fails, a newer sync, a bug, the deadline; and what it tells meanwhile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import SECRETS, live, plan, spec, sync, users
from tests.unit.engine.test_engine_run import people, serve_users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import Plan
from towline_connectors.engine import clock
from towline_connectors.engine.run import Progress, run
from towline_connectors.sinks.base import Session, SinkError


class Failing:
    def __init__(self, error: SinkError) -> None:
        self.error = error

    def open(self, *_arguments: Any) -> Session:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SinkError("The volume is full.", full=True), Reason.DESTINATION_FULL),
        (SinkError("locked"), Reason.DESTINATION_UNAVAILABLE),
        (SinkError("no database", transient=False), Reason.CONFIG_INVALID),
    ],
)
def test_a_destination_that_cannot_be_used(vendor: Vendor, error: SinkError, reason: Reason) -> None:
    result = run(plan(spec(vendor.url, [users()])), SECRETS, Failing(error))
    assert (result.reason, result.message) == (reason, str(error))


def test_an_older_sync_is_superseded(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(3))
    manifest = spec(vendor.url, [users()])
    sync(plan(manifest, uid="new", created="2026-02-01T00:00:00Z"), database)
    result = sync(plan(manifest, uid="old", created="2026-01-01T00:00:00Z"), database)
    assert result.reason is Reason.SUPERSEDED


def test_a_bug_is_called_a_bug_and_shows_no_traceback(vendor: Vendor, database: Path) -> None:
    class Broken:
        def open(self, *_arguments: Any) -> Session:
            raise ZeroDivisionError("tok-123")

    result = run(plan(spec(vendor.url, [users()])), SECRETS, Broken())
    assert result.reason is Reason.CONNECTOR_BUG
    assert "ZeroDivisionError" in result.message
    assert "tok-123" not in result.message


def test_the_deadline_ends_a_run_and_what_was_read_stays(
    vendor: Vendor, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, later = clock.monotonic, [0.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now() + later[0])

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        later[0] = 3600 if at >= 300 else 0
        return web.json_response({"items": [{"id": f"u{at + n}", "name": "x"} for n in range(10)]})

    endless: Plan = plan(spec(vendor.url, [users()]), deadline_seconds=600)
    result = sync(endless, database)
    assert result.reason is Reason.DEADLINE_EXCEEDED
    assert len(live(database)) == result.streams[0].read > 0


def test_progress_is_told_while_a_stream_is_read(
    vendor: Vendor, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline_connectors.engine.writer.MAX_RECORDS", 10)
    serve_users(vendor, people(35))
    seen: list[Progress] = []
    sync(plan(spec(vendor.url, [users()])), database, progress=seen.append)
    assert [one.read for one in seen if one.stream][:3] == [0, 10, 20]
    assert seen[-1].read == 35
