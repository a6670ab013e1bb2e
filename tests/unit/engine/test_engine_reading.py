"""From one request to all records: places of parameters, pages, details, tokens, and rows that move."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.groups import delta
from tests.unit.engine.plans import live, read, rows, users
from tests.unit.engine.test_engine_run import people
from tests.unit.engine.vendor import Vendor, serving

from towline.api.conditions import Reason


def keys(count: int) -> list[str]:
    return sorted(one["id"] for one in people(count))


@pytest.mark.parametrize(
    ("paginate", "request_"),
    [
        ({"kind": "Cursor", "from": "=after", "param": "a.after", "place": "Body"}, {"json": {"a": {"x": 1}}}),
        ({"kind": "Cursor", "from": "=after", "param": "after", "place": "Body", "first": 0}, {"form": {"x": "1"}}),
        ({"kind": "Cursor", "from": "header:X-After", "param": "X-Cursor", "place": "Header"}, {}),
        ({"kind": "GraphQL", "from": "=data.users.pageInfo", "size": 10}, {"graphql": {"query": "query { users }"}}),
        (
            {"kind": "Offset", "offset": "a.from", "end": "a.to", "size": 10, "place": "Body", "total": "=total"},
            {"json": {"a": {"x": 1}}},
        ),
        ({"kind": "Range", "size": 10}, {}),
        ({"kind": "Keyset", "from": "=id", "param": "after", "limit": "n", "size": 10}, {}),
        ({"kind": "Offset", "offset": "skip", "limit": "top", "size": 25, "until": "Empty"}, {}),
        ({"kind": "Page", "param": "p", "limit": "n", "size": 10, "pages": "=pages"}, {}),
        ({"kind": "Page", "param": "p", "limit": "n", "size": 10, "more": "=more"}, {}),
    ],
    ids=lambda value: value.get("kind") if "kind" in value else None,
)
def test_all_pages_are_read(vendor: Vendor, database: Path, paginate: dict[str, Any], request_: dict[str, Any]) -> None:
    crowd = people(35)

    async def answer(request: web.Request) -> web.Response:
        form: dict[str, Any] = dict(await request.post()) if request.content_type.endswith("urlencoded") else {}
        body = await request.json() if request.content_type.endswith("json") else {}
        inner, query = body.get("a", {}), request.query
        key = query.get("after", "")
        at = int(
            inner.get("after")
            or form.get("after")
            or body.get("variables", {}).get("after")
            or request.headers.get("X-Cursor")
            or inner.get("from")
            or query.get("skip")
            or (10 * (int(query["p"]) - 1) if "p" in query else 0)
            or (int(key[1:]) + 1 if key else 0)
        )
        if "Range" in request.headers:
            at = int(request.headers["Range"].removeprefix("items=").partition("-")[0])
        assert not inner or inner.get("x") == 1, "what the body said stays"
        assert "to" not in inner or inner["to"] == inner["from"] + 10
        page = crowd[at : at + 10]
        after = at + 10 if at + 10 < 35 else None
        more = {"after": after, "total": 35, "pages": 4, "more": after is not None}
        info = {"users": {"pageInfo": {"hasNextPage": after is not None, "endCursor": str(at + 10)}}}
        headers = {"Content-Range": f"items {at}-{at + 9}/35"} | ({"X-After": str(after)} if after else {})
        return web.json_response({"items": page, "data": info, **more}, headers=headers)

    vendor.on("GET", "/users")(answer)
    vendor.on("POST", "/users")(answer)
    result = read(vendor, database, users(paginate=paginate, request={"path": "/users", **request_}))
    assert (result.reason, result.message[:3]) == (Reason.COMPLETED, "35 ")
    assert live(database) == keys(35)


def test_odata_pages_and_a_page_that_repeats_ends_quietly_with_until_empty(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(2), "@odata.nextLink": f"{vendor.url}/p2"})
    vendor.json("/p2", {"items": people(3)})
    assert read(vendor, database, users(paginate={"kind": "OData"})).reason is Reason.COMPLETED
    assert live(database) == keys(3)
    paginate = {"kind": "Offset", "offset": "skip", "size": 10, "until": "Empty"}
    assert read(vendor, database, users(paginate=paginate), uid="sync-2").reason is Reason.COMPLETED


def test_a_next_page_on_another_host_is_not_followed(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(2), "@odata.nextLink": "https://elsewhere.example/p2"})
    result = read(vendor, database, users(paginate={"kind": "OData"}))
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert "another host" in result.message


@pytest.mark.parametrize("host", ["", "https://elsewhere.example"])
def test_of_pages_that_are_counted_a_named_one_is_followed_on_the_same_host(
    vendor: Vendor, database: Path, host: str
) -> None:
    followed: list[bool] = []

    @vendor.on("GET", "/users")
    async def answer(request: web.Request) -> web.Response:
        followed.append("after" in request.query)
        at = int(request.query.get("skip") or request.query.get("after") or 0)
        named = {"next": f"{host or vendor.url}/users?after={at + 10}"} if at < 20 else {}
        return web.json_response({"items": people(25)[at : at + 10], **named})

    paginate = {"kind": "Offset", "from": "=next", "offset": "skip", "limit": "top", "size": 20 if not host else 10}
    assert read(vendor, database, users(paginate=paginate)).reason is Reason.COMPLETED
    assert live(database) == keys(25)
    assert followed == [False, not host, not host]


def test_ids_become_entities_in_batches_and_a_parameter_is_repeated(vendor: Vendor, database: Path) -> None:
    crowd = {one["id"]: one for one in people(25)}
    asked: list[int] = []
    vendor.json("/ids", {"resources": list(crowd)})

    @vendor.on("GET", "/entities")
    async def entities(request: web.Request) -> web.Response:
        wanted = request.query.getall("ids")
        asked.append(len(wanted))
        return web.json_response({"items": [crowd[key] for key in wanted]})

    details = {"request": {"path": "/entities", "query": {"ids": "=ids"}}, "batch": 10, "records": "=items"}
    stream = users(request={"path": "/ids"}, records="=resources", paginate={"kind": "None"}, details=details)
    assert read(vendor, database, stream).reason is Reason.COMPLETED
    assert live(database) == keys(25)
    assert sorted(asked) == [5, 10, 10]


def test_details_are_put_into_their_record_and_may_be_gone(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(3)})
    for one in people(2):
        vendor.json(f"/users/{one['id']}/mail", {"address": f"{one['id']}@example.org"})
    details = {"request": {"path": "/users/${id}/mail"}, "key": "=id", "into": "more", "optional": True}
    emit = [{"entity": "user", "key": "=id", "fields": {"email_addr": "=more.address"}}]
    assert read(vendor, database, users(details=details, emit=emit)).reason is Reason.COMPLETED
    found = rows(database, "select source_key, email_addr from users order by source_key")
    assert found == [(key, f"{key}@example.org" if at < 2 else None) for at, key in enumerate(keys(3))]


def test_a_run_goes_on_from_the_token_of_the_last(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(2), "@odata.nextLink": f"{vendor.url}/p2"})
    vendor.json("/p2", {"items": people(3)[2:], "@odata.deltaLink": f"{vendor.url}/delta?token=1@x"})
    assert read(vendor, database, delta()).streams[0].full is True
    gone = {"id": keys(1)[0], "@removed": {"reason": "deleted"}}
    vendor.json("/delta", {"items": [gone, {"id": "new"}], "@odata.deltaLink": f"{vendor.url}/delta?token=2"})
    result = read(vendor, database, delta(), uid="sync-2")
    assert (result.streams[0].full, result.streams[0].checkpoint) == (False, None)
    assert live(database) == sorted([*keys(3)[1:], "new"])
    assert vendor.seen[-1] == ("GET", "/delta", {"token": "1@x"})
    read(vendor, database, delta(), uid="sync-3")
    assert vendor.seen[-1] == ("GET", "/delta", {"token": "2"})


def test_a_token_that_is_gone_makes_the_run_read_everything(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(3), "@odata.deltaLink": f"{vendor.url}/delta"})
    read(vendor, database, delta())
    vendor.json("/delta", {"error": {"code": "syncStateNotFound"}}, status=410)
    vendor.json("/users", {"items": people(2), "@odata.deltaLink": f"{vendor.url}/delta2"})
    result = read(vendor, database, delta(), uid="sync-2")
    assert (result.reason, result.streams[0].full) == (Reason.COMPLETED, True)
    assert live(database) == keys(2)


def test_a_download_at_another_host_carries_no_credentials(vendor: Vendor, database: Path) -> None:
    with serving(Vendor()) as store:
        store.json("/signed", {"items": people(2)})
        vendor.json("/files", {"links": [f"{store.url}/signed?sig=1"]})
        details = {"request": {"path": "${id}"}, "records": "=items", "batch": 1}
        stream = users(request={"path": "/files"}, records="=links", paginate={"kind": "None"}, details=details)
        assert read(vendor, database, stream).reason is Reason.COMPLETED
        assert "authorization" not in store.headers[0]
        assert "authorization" in vendor.headers[0]
    assert live(database) == keys(2)


def test_a_stream_whose_condition_does_not_hold_is_left_out(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(1)})
    more = users(name="more", when="=config.tenant")
    assert [one.name for one in read(vendor, database, users(), more).streams] == ["users"]
    result = read(vendor, database, users(), more, config={"tenant": "t"}, uid="sync-2")
    assert [one.name for one in result.streams] == ["users", "more"]


def test_a_log_of_deletions_deletes_rows_of_several_entities(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(3)})
    assert read(vendor, database, users(sync={"mode": "Full"})).reason is Reason.COMPLETED
    vendor.json("/deleted", {"items": [{"table": "sys_user", "key": "u1"}, {"table": "sys_group", "key": "g1"}]})
    log = {
        "name": "deleted",
        "request": {"path": "/deleted"},
        "records": "=items",
        "sync": {"mode": "Full", "deletes": {"tombstone": "=`true`", "entities": ["user", "group"]}},
        "emit": [
            {"entity": "user", "key": "=key", "when": "=table == 'sys_user'"},
            {"entity": "group", "key": "=key", "when": "=table == 'sys_group'"},
        ],
    }
    assert read(vendor, database, log, uid="sync-2").streams[0].deleted == 1
    assert live(database) == ["u0", "u2"]


@pytest.mark.parametrize("reanchor", [True, False])
def test_rows_that_move_while_they_are_read_are_met_by_reanchoring(
    vendor: Vendor, database: Path, reanchor: bool
) -> None:
    table = [{**one, "updated": f"2026-01-01T00:00:{n:02}Z"} for n, one in enumerate(people(40))]

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        found = sorted(
            (one for one in table if one["updated"] >= request.query["since"]), key=lambda one: one["updated"]
        )
        at = int(request.query["offset"])
        answer = web.json_response({"items": found[at : at + 10]})
        if len(vendor.seen) == 1:  # the first ten change, so that all others move up
            for n, one in enumerate(found[:10]):
                one["updated"] = f"2026-01-02T00:00:{n:02}Z"
        return answer

    stream = users(
        request={"path": "/users", "query": {"since": "${window.start}"}},
        paginate={"kind": "Offset", "offset": "offset", "limit": "limit", "size": 10, "reanchor": reanchor},
        sync={"mode": "Incremental", "cursor": "=updated", "order": "Ascending"},
    )
    result = read(vendor, database, stream)
    assert result.reason is Reason.COMPLETED, result.message
    missed = set(keys(40)) - set(live(database))
    assert (missed == set()) is reanchor, "counting on passes over the rows that moved up"
