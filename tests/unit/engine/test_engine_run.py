from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import SECRETS, plan, rows, spec, sync, users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import RunResult
from towline_connectors.engine.run import run
from towline_connectors.sinks import open_sink, records, session
from towline_connectors.sinks.base import Session, Sink, SinkError
from towline_connectors.sinks.store import ConnectionLost


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
        held = self.inner.open(*arguments)
        end = held.finish

        def finish(result: RunResult) -> None:
            self.left -= 1
            if self.left >= 0:
                raise SinkError("The disk was taken away.")
            end(result)

        held.finish = finish  # type: ignore[method-assign]
        return held


def test_a_run_whose_end_could_not_be_written_has_not_completed(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(25))
    destination = Endless(open_sink(str(database)), 1)
    result = run(plan(spec(vendor.url, [users()])), SECRETS, destination)
    assert (result.reason, result.message) == (Reason.DESTINATION_UNAVAILABLE, "The disk was taken away.")
    assert run(plan(spec(vendor.url, [users()])), SECRETS, destination).reason is Reason.COMPLETED
    assert rows(database, "select count(*) from users") == [(25,)]
    assert rows(database, "select outcome from towline_activity") == [("Completed",)]


@dataclass
class Away:
    """A destination that cannot be opened."""

    in_doubt: bool

    def open(self, *_arguments: Any) -> Session:
        raise SinkError("Nobody answers there.", in_doubt=self.in_doubt)


@pytest.mark.parametrize("in_doubt", [False, True])
def test_a_result_names_no_stream_only_where_nothing_can_have_been_written(vendor: Vendor, in_doubt: bool) -> None:
    result = run(plan(spec(vendor.url, [users()])), SECRETS, Away(in_doubt))
    assert result.reason is Reason.DESTINATION_UNAVAILABLE
    assert [stream.name for stream in result.streams] == (["users"] if in_doubt else [])


def test_a_result_of_a_refused_run_whose_destination_was_opened_names_a_stream(vendor: Vendor, database: Path) -> None:
    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response({}, status=401)

    result = sync(plan(spec(vendor.url, [users()])), database)
    assert result.reason is Reason.CREDENTIALS_REJECTED
    assert [(stream.name, stream.read) for stream in result.streams] == [("users", 0)]


def test_a_connection_that_breaks_while_a_run_is_noted_leaves_it_in_doubt(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: Any) -> None:
        raise ConnectionLost("The connection broke.")

    monkeypatch.setattr(session, "RECONNECT_AFTER", ())
    monkeypatch.setattr(records, "start_run", broken)
    with pytest.raises(SinkError) as caught:
        open_sink(str(database)).open("secops/prod", "acme", plan(spec("http://x", [users()])).sync, "pod-1")
    assert caught.value.in_doubt


def test_a_run_whose_streams_are_all_left_out_by_its_config_has_completed(vendor: Vendor, database: Path) -> None:
    result = sync(plan(spec(vendor.url, [{**users(), "when": "=False"}])), database)
    assert (result.reason, [stream.name for stream in result.streams]) == (Reason.COMPLETED, ["users"])
