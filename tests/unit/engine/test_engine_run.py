from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.unit.engine.plans import SECRETS, plan, rows, spec, sync, users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import RunResult
from towline_connectors.engine.run import run
from towline_connectors.sinks import open_sink
from towline_connectors.sinks.base import Session, Sink, SinkError


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


@dataclass
class Endless:
    """A destination that takes everything but the end of a run."""

    inner: Sink
    left: int

    def open(self, *arguments: Any) -> Session:
        session = self.inner.open(*arguments)
        end = session.finish

        def finish(result: RunResult) -> None:
            self.left -= 1
            if self.left >= 0:
                raise SinkError("The disk was taken away.")
            end(result)

        session.finish = finish  # type: ignore[method-assign]
        return session


def test_a_run_whose_end_could_not_be_written_has_not_completed(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(25))
    destination = Endless(open_sink(str(database)), 1)
    result = run(plan(spec(vendor.url, [users()])), SECRETS, destination)
    assert (result.reason, result.message) == (Reason.DESTINATION_UNAVAILABLE, "The disk was taken away.")
    assert run(plan(spec(vendor.url, [users()])), SECRETS, destination).reason is Reason.COMPLETED
    assert rows(database, "select count(*) from users") == [(25,)]
    assert rows(database, "select outcome from towline_activity") == [("Completed",)]
