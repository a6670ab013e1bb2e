"""Paging: by links, cursors, numbers, offsets and scrolls, to the end and not in circles."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import live, plan, spec, sync, users
from tests.unit.engine.test_engine_run import people
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.contract import RunResult


def paged(vendor: Vendor, database: Path, paginate: dict[str, Any], **changes: Any) -> RunResult:
    return sync(plan(spec(vendor.url, [users(paginate=paginate, **changes)])), database)


def test_next_urls_relative_and_absolute(vendor: Vendor, database: Path) -> None:
    crowd = people(6)
    vendor.json("/users", {"items": crowd[:2], "next": "/p2?x=1"})
    vendor.json("/p2", {"items": crowd[2:4], "next": f"{vendor.url}/p3"})
    vendor.json("/p3", {"items": crowd[4:]})
    assert paged(vendor, database, {"kind": "NextURL", "from": "=next"}).reason is Reason.COMPLETED
    assert len(live(database)) == 6


def test_link_headers(vendor: Vendor, database: Path) -> None:
    crowd = people(4)
    link = f'<{vendor.url}/users>; rel="first", <{vendor.url}/p2?a=b,c>; rel="next"'
    vendor.json("/users", {"items": crowd[:2]}, Link=link)
    vendor.json("/p2", {"items": crowd[2:]}, Link=f'<{vendor.url}/users>; rel="first"')
    assert paged(vendor, database, {"kind": "LinkHeader"}).reason is Reason.COMPLETED
    assert len(live(database)) == 4


def test_cursors(vendor: Vendor, database: Path) -> None:
    crowd = people(5)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query.get("after", "0"))
        more = {"next": str(at + 2)} if at + 2 < len(crowd) else {"next": None}
        return web.json_response({"items": crowd[at : at + 2], **more})

    assert paged(vendor, database, {"kind": "Cursor", "from": "=next", "param": "after"}).reason is Reason.COMPLETED
    assert len(live(database)) == 5


def test_page_numbers(vendor: Vendor, database: Path) -> None:
    crowd = people(25)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = (int(request.query["p"]) - 1) * int(request.query["n"])
        return web.json_response({"items": crowd[at : at + 10]})

    result = paged(vendor, database, {"kind": "Page", "param": "p", "limit": "n", "size": 10})
    assert result.reason is Reason.COMPLETED
    assert len(live(database)) == 25


def test_offsets_with_a_total_pass_over_rows_that_the_account_may_not_see(vendor: Vendor, database: Path) -> None:
    crowd = people(40)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        seen = [one for one in crowd[at : at + 10] if int(one["id"][1:]) not in range(8, 33)]
        return web.json_response({"items": seen}, headers={"X-Total-Count": "40"})

    paginate = {"kind": "Offset", "offset": "offset", "limit": "limit", "size": 10, "total": "header:X-Total-Count"}
    assert paged(vendor, database, paginate).reason is Reason.COMPLETED
    assert len(live(database)) == 15


def test_a_system_that_gives_fewer_rows_than_asked_for_is_read_to_its_end(vendor: Vendor, database: Path) -> None:
    crowd = people(23)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        return web.json_response({"items": crowd[at : at + 5], "total": 23})

    paginate = {"kind": "Offset", "offset": "offset", "limit": "limit", "size": 10, "total": "=total"}
    assert paged(vendor, database, paginate).reason is Reason.COMPLETED
    assert len(live(database)) == 23


@pytest.mark.parametrize(
    ("paginate", "says"),
    [
        ({"kind": "Offset", "offset": "offset", "size": 2}, "same page again"),
        ({"kind": "Cursor", "from": "=next", "param": "c"}, "same cursor again"),
        ({"kind": "NextURL", "from": "=self"}, "names itself"),
    ],
)
def test_paging_in_a_circle_is_noticed(vendor: Vendor, database: Path, paginate: dict[str, Any], says: str) -> None:
    vendor.json("/users", {"items": people(2), "next": "x", "self": f"{vendor.url}/users"})
    result = paged(vendor, database, paginate)
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert says in result.message


def test_a_scroll_goes_on_under_the_same_id_until_nothing_comes(vendor: Vendor, database: Path) -> None:
    crowd = people(6)
    given = iter([crowd[0:2], crowd[2:4], crowd[4:6], []])

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        assert request.query.get("scroll", "first") in ("first", "s1")
        return web.json_response({"items": next(given), "scroll": "s1"})

    paginate = {"kind": "Cursor", "from": "=scroll", "param": "scroll", "until": "Empty"}
    assert paged(vendor, database, paginate).reason is Reason.COMPLETED
    assert len(live(database)) == 6


def test_a_scroll_that_gives_the_same_page_again_ends(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(2), "scroll": "s1"})
    paginate = {"kind": "Cursor", "from": "=scroll", "param": "scroll", "until": "Empty"}
    assert paged(vendor, database, paginate).reason is Reason.COMPLETED
    assert len(live(database)) == 2
