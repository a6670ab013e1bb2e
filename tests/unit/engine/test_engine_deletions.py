"""What may be deleted: after a whole scan, within the guard, and never from damage."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web
from tests.unit.engine.plans import live, plan, rows, spec, sync, users
from tests.unit.engine.test_engine_run import people, serve_users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import StreamPlan


def test_a_complete_scan_deletes_what_it_does_not_show_and_a_row_that_returns_lives_again(
    vendor: Vendor, database: Path
) -> None:
    serve_users(vendor, people(5))
    manifest = spec(vendor.url, [users()])
    sync(plan(manifest), database)
    serve_users(vendor, people(3))
    assert sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database).streams[0].deleted == 2
    assert live(database) == ["u0", "u1", "u2"]
    serve_users(vendor, people(4))
    sync(plan(manifest, uid="s3", created="2026-01-03T00:00:00Z"), database)
    assert live(database) == ["u0", "u1", "u2", "u3"]


def test_the_guard_stops_a_deletion_that_is_too_large_to_be_true(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(10))
    manifest = spec(vendor.url, [users()])
    sync(plan(manifest), database)
    serve_users(vendor, people(2))
    result = sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database)
    assert result.reason is Reason.POLICY_VIOLATION
    assert "8 of 10" in result.message
    assert len(live(database)) == 10
    own = [StreamPlan(name="users", max_delete_percent=90)]
    sync(plan(manifest, uid="s3", created="2026-01-03T00:00:00Z", streams=own), database)
    assert len(live(database)) == 2


@pytest.mark.parametrize("damage", ["page fails", "a record does not map"])
def test_a_scan_that_is_not_whole_deletes_nothing(vendor: Vendor, database: Path, damage: str) -> None:
    serve_users(vendor, people(15))
    manifest = spec(vendor.url, [users()])
    sync(plan(manifest), database)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        if int(request.query["offset"]):
            return web.json_response({"items": []}, status=403 if damage == "page fails" else 200)
        crowd = people(10)
        if damage != "page fails":
            crowd[0] = {"id": None, "name": "x"}
        return web.json_response({"items": crowd})

    result = sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database)
    assert len(live(database)) == 15
    if damage != "page fails":
        assert "nothing was deleted" in result.message


def test_most_of_a_page_not_mapping_stops_the_stream_and_keeps_the_evidence(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": [{"identifier": f"u{n}"} for n in range(20)]})
    stream = users(paginate={"kind": "None"})
    result = sync(plan(spec(vendor.url, [stream])), database)
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert "20 of 20 records" in result.message
    assert "user.key" in result.message
    assert rows(database, "select count(*), min(reason) from towline_rejected")[0][0] == 20
