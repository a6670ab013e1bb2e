"""What a stream reads over several runs: windows, lookback, full passes, and the order of changes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import live, plan, spec, sync
from tests.unit.engine.tables import START, Table, changing
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import StreamPlan


def test_the_second_run_reads_only_what_changed_less_the_lookback(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    for n in range(25):
        table.put(f"u{n:02}", n)
    manifest = spec(vendor.url, [changing(lookback="5m")])
    first = sync(plan(manifest), database)
    assert (first.streams[0].read, first.streams[0].full) == (25, True)
    assert table.since[0] == "1970-01-01 00:00:00"
    assert first.streams[0].checkpoint == "2026-01-10T00:24:00.000Z"
    table.since.clear()
    table.put("u03", 30, name="renamed")
    second = sync(plan(manifest, uid="sync-2", created="2026-01-02T00:00:00Z"), database)
    assert table.since[0] == "2026-01-10 00:19:00"
    assert (second.streams[0].full, second.streams[0].read, second.streams[0].upserted) == (False, 7, 1)
    assert second.streams[0].deleted == 0, "a run that reads changes only never deletes what it does not see"


def test_the_integrations_lookback_wins(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    table.put("u1", 60)
    manifest = spec(vendor.url, [changing(lookback="5m")])
    sync(plan(manifest), database)
    own = [StreamPlan(name="users", lookback="1h")]
    sync(plan(manifest, streams=own, uid="s2", created="2026-01-02T00:00:00Z"), database)
    assert table.since[-1] == "2026-01-10 00:00:00"


@pytest.mark.parametrize(
    ("sync_", "start"),
    [
        ({"format": "Epoch", "timeFormat": None}, "1768005600"),
        ({"timeFormat": None}, "2026-01-10T00:40:00Z"),
        ({"format": "GeneralizedTime", "timeFormat": None}, "20260110004000.0Z"),
    ],
)
def test_the_window_is_written_as_the_vendor_wants_it(
    vendor: Vendor, database: Path, sync_: dict[str, Any], start: str
) -> None:
    table = Table(vendor)
    table.serve()
    table.put("u1", 40)
    stream = changing(**sync_)
    stream["sync"] = {key: value for key, value in stream["sync"].items() if value is not None}
    manifest = spec(vendor.url, [stream])
    sync(plan(manifest), database)
    sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database)
    if "Epoch" in sync_.values():
        start = str(int((START + timedelta(minutes=40)).timestamp()))
    assert table.since[-1] == start


def test_first_run_bounds_the_first_window(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    manifest = spec(vendor.url, [changing(firstRun="7d", deletes=None)])
    manifest["streams"][0]["sync"].pop("deletes")
    sync(plan(manifest), database, clock=lambda: START)
    assert table.since == ["2026-01-03 00:00:00"]


def test_a_full_pass_is_due_after_its_time_and_deletes_what_is_gone(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    for n in range(4):
        table.put(f"u{n}", n)
    manifest = spec(vendor.url, [changing(fullEvery="1d")])
    sync(plan(manifest), database, clock=lambda: START)
    table.records = [one for one in table.records if one["id"] != "u1"]
    early = START + timedelta(hours=23)
    sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database, clock=lambda: early)
    assert live(database) == ["u0", "u1", "u2", "u3"]
    late = START + timedelta(hours=25)
    result = sync(plan(manifest, uid="s3", created="2026-01-03T00:00:00Z"), database, clock=lambda: late)
    assert (result.streams[0].full, result.streams[0].deleted) == (True, 1)
    assert live(database) == ["u0", "u2", "u3"]


def test_records_out_of_the_promised_order_do_not_move_the_checkpoint_early(vendor: Vendor, database: Path) -> None:
    crowd = [{"id": f"u{n}", "name": "x", "at": f"2026-01-{20 - n:02}"} for n in range(15)]
    calls = {"n": 0}

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        calls["n"] += 1
        return web.json_response({"items": crowd[at : at + 10]}, status=400 if at else 200)

    result = sync(plan(spec(vendor.url, [changing()])), database)
    assert result.reason is Reason.CONFIG_INVALID
    assert result.streams[0].checkpoint is None


def test_a_record_from_the_future_does_not_hide_what_comes_after_it(vendor: Vendor, database: Path) -> None:
    table = Table(vendor)
    table.serve()
    table.put("u1", 60 * 24 * 365 * 50)
    result = sync(plan(spec(vendor.url, [changing()])), database, clock=lambda: START)
    assert result.streams[0].checkpoint == "2026-01-10T00:00:00.000Z"
