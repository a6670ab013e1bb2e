"""Pieces of a stream: children of parents, lists, batches and spans of time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from aiohttp import web
from tests.unit.engine.groups import MEMBERS, memberships, serve_groups
from tests.unit.engine.plans import live, plan, read, rows, spec, sync, users
from tests.unit.engine.test_engine_run import people
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason


def test_children_are_read_for_each_parent_in_its_order(vendor: Vendor, database: Path) -> None:
    groups = {f"g{n:02}": [f"u{n}", "boss"] for n in range(12)}
    serve_groups(vendor, groups)
    assert read(vendor, database, *memberships()).reason is Reason.COMPLETED
    wanted = sorted(f"{group}/{member}" for group, members in groups.items() for member in members)
    assert [key for (key,) in rows(database, MEMBERS)] == wanted
    assert "/groups/secret/members" not in vendor.paths()


def test_nothing_is_deleted_when_a_parent_could_not_be_read(vendor: Vendor, database: Path) -> None:
    serve_groups(vendor, {"a": ["1", "2"], "b": ["3"]})
    assert read(vendor, database, *memberships()).reason is Reason.COMPLETED
    vendor.json("/groups/b/members", {}, status=403)
    vendor.json("/groups/a/members", {"items": [{"id": "1"}]})
    result = read(vendor, database, *memberships(), uid="sync-2")
    assert "a part of it was left out" in result.message
    assert len(rows(database, MEMBERS)) == 3
    serve_groups(vendor, {"a": ["1"], "b": ["3"]})
    assert read(vendor, database, *memberships(), uid="sync-3").reason is Reason.COMPLETED
    assert [key for (key,) in rows(database, MEMBERS)] == ["a/1", "b/3"]


def test_nothing_is_deleted_when_a_parent_has_no_key_or_details_are_denied(vendor: Vendor, database: Path) -> None:
    serve_groups(vendor, {"a": ["1", "2"]})
    vendor.json("/users", {"items": people(2)})
    more = users(details={"request": {"path": "/more/${id}"}, "key": "=id", "batch": 1, "optional": True})
    for one in people(2):
        vendor.json(f"/more/{one['id']}", one)
    assert read(vendor, database, *memberships(), more).reason is Reason.COMPLETED
    vendor.json("/groups", {"items": [{"id": None, "name": "A"}]})
    vendor.json("/more/u0", {}, status=403)
    vendor.json("/more/u1", {}, status=404)
    result = read(vendor, database, *memberships(), more, uid="sync-2")
    assert "1 records of its parents could not be read" in result.message
    assert "details were left out" in result.message
    assert (len(rows(database, MEMBERS)), live(database)) == (2, ["u0", "u1"])


def test_a_run_that_was_cut_off_finds_its_place_though_parents_were_renamed(vendor: Vendor, database: Path) -> None:
    groups = {f"g{n:03}": [f"u{n}"] for n in range(120)}
    serve_groups(vendor, groups)
    vendor.json("/groups/g110/members", {}, status=500)
    read(vendor, database, *memberships(concurrency=1))
    serve_groups(vendor, groups)
    vendor.json("/groups", {"items": [{"id": key, "name": "renamed"} for key in groups]})
    vendor.seen.clear()
    assert read(vendor, database, *memberships(concurrency=8), uid="sync-2").reason is Reason.COMPLETED
    assert len([path for path in vendor.paths() if path.endswith("/members")]) == 20
    assert len(rows(database, MEMBERS)) == 120


def test_gathered_children_replace_their_group_as_a_whole(vendor: Vendor, database: Path) -> None:
    emit = [
        {
            "entity": "membership",
            "forEach": "=items",
            "key": "=join('/', [record.partition.group, item.id])",
            "fields": {"group": {"ref": "group", "key": "=record.partition.group"}},
            "replaceWithin": "group",
        }
    ]
    streams = memberships(gather=True, emit=emit, sync={"mode": "Full"})
    serve_groups(vendor, {"a": ["1", "2"], "b": ["3"]})
    assert read(vendor, database, *streams).reason is Reason.COMPLETED
    serve_groups(vendor, {"a": ["2"], "b": []})
    assert read(vendor, database, *streams, uid="sync-2").reason is Reason.COMPLETED
    assert [key for (key,) in rows(database, MEMBERS)] == ["a/2"]


def test_a_run_that_was_cut_off_goes_on_behind_the_last_whole_piece(vendor: Vendor, database: Path) -> None:
    groups = {f"g{n:03}": [f"u{n}"] for n in range(120)}
    serve_groups(vendor, groups)
    vendor.json("/groups/g110/members", {}, status=500)
    first = read(vendor, database, *memberships(concurrency=1))
    assert first.reason is Reason.UNREACHABLE
    vendor.seen.clear()
    serve_groups(vendor, groups)
    assert read(vendor, database, *memberships(concurrency=1), attempt=2).reason is Reason.COMPLETED
    assert len([path for path in vendor.paths() if path.endswith("/members")]) == 20
    assert len(rows(database, MEMBERS)) == 120


def test_lists_and_batches_of_values(vendor: Vendor, database: Path) -> None:
    @vendor.on("GET", "/eu/users")
    async def handler(request: web.Request) -> web.Response:
        return web.json_response({"items": [{"id": key} for key in request.query.getall("id")]})

    partitions = [
        {"name": "region", "kind": "List", "values": ["eu"]},
        {"name": "ids", "kind": "List", "values": "=['a', 'b', 'c']", "batch": 2},
    ]
    request = {"path": "/${partition.region}/users", "query": {"id": "=partition.ids"}}
    stream = users(request=request, partitions=partitions, paginate={"kind": "None"})
    assert read(vendor, database, stream).reason is Reason.COMPLETED
    assert live(database) == ["a", "b", "c"]
    assert len(vendor.seen) == 2


@pytest.mark.parametrize("count", ["=total", None])
def test_spans_of_time_are_split_where_the_vendor_caps_results(
    vendor: Vendor, database: Path, count: str | None
) -> None:
    records = [{"id": f"{n:03}", "at": f"2026-01-01T00:{n // 60:02}:{n % 60:02}Z"} for n in range(0, 600, 20)]

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        start, end = request.query["from"], request.query["to"]
        found = [one for one in records if start <= one["at"] < end]
        return web.json_response({"items": found[:10], "total": len(found)})

    partition = {"name": "time", "kind": "Dates", "cap": 10, "smallest": "30s", **({"count": count} if count else {})}
    request = {"path": "/users", "query": {"from": "${partition.start}", "to": "${partition.end}"}}
    stream = users(request=request, partitions=[partition], paginate={"kind": "None"},
                   sync={"mode": "Full", "format": "Time"})  # fmt: skip
    result = read(vendor, database, stream)
    assert (result.reason, len(live(database))) == (Reason.COMPLETED, 30)
    records.extend({"id": f"x{n}", "at": "2026-01-01T00:00:05Z"} for n in range(20))
    result = read(vendor, database, stream, uid="sync-2")
    assert "there are more than 10 records from " in result.message


def test_a_budget_of_one_request_at_a_time_does_not_block_parents_children_and_details(
    vendor: Vendor, database: Path
) -> None:
    """A parent's answer that is read in pieces must not keep the only place while its children wait for one."""
    groups = {f"g{n}": [f"u{n}{m}" for m in range(5)] for n in range(6)}
    lines = "".join(json.dumps({"id": key}) + "\n" for key in groups for _ in range(600))

    @vendor.on("GET", "/groups")
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(text=lines)

    for key, members in groups.items():
        vendor.json(f"/groups/{key}/members", {"items": members})
        for member in members:
            vendor.json(f"/users/{member}", {"id": member})
    parent, child = memberships(details={"request": {"path": "/users/${id}"}, "batch": 1})
    parent |= {"format": "JSONLines"}
    del parent["records"]
    parent["request"] = {"path": "/groups"}
    child["partitions"][0] |= {"batch": 600, "when": "=id", "keep": {}}
    child["request"] = {"path": "/groups/${partition.first}/members"}
    child["partitions"].append({"name": "first", "kind": "List", "values": "=[partition.group[0]]"})
    child["emit"] = [{"entity": "user", "key": "=id"}]
    manifest = spec(vendor.url, [parent, child], budgets=[{"name": "default", "concurrency": 1}])
    assert sync(plan(manifest), database).reason is Reason.COMPLETED
    assert live(database) == sorted(member for members in groups.values() for member in members)
