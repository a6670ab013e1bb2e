"""From one request to all records: places of parameters, details, partitions, tokens, formats, over several runs."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import plan, rows, spec, sync, users
from tests.unit.engine.test_engine_run import people
from tests.unit.engine.vendor import Vendor, serving

from towline.api.conditions import Reason
from towline.contract import RunResult
from towline_connectors.engine.reading import fetch

LIVE = "select source_key from users where deleted_time is null order by source_key"


def live(database: Path) -> list[str]:
    return [key for (key,) in rows(database, LIVE)]


def read(vendor: Vendor, database: Path, *streams: dict[str, Any], **changes: Any) -> RunResult:
    return sync(plan(spec(vendor.url, list(streams)), **changes), database)


def keys(count: int) -> list[str]:
    return sorted(one["id"] for one in people(count))


# -- where parameters stand


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


# -- details


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


# -- partitions


def memberships(**changes: Any) -> list[dict[str, Any]]:
    groups = {
        "name": "groups",
        "request": {"path": "/groups"},
        "records": "=items",
        "sync": {"mode": "Full"},
    }
    members = {
        "name": "members",
        "request": {"path": "/groups/${partition.group}/members"},
        "records": "=items",
        "partitions": [
            {"name": "group", "kind": "Parent", "stream": "groups", "key": "=id", "keep": {"title": "=name"},
             "when": "=kind != 'hidden'", "optional": True}
        ],
        "sync": {"mode": "Full", "deletes": {"completeScan": "Always"}},
        "emit": [
            {"entity": "membership", "key": "=join('/', [partition.group, id])",
             "fields": {"group": {"ref": "group", "key": "=partition.group"}, "member": {"ref": "user", "key": "=id"}}},
        ],
        **changes,
    }  # fmt: skip
    return [groups, members]


def serve_groups(vendor: Vendor, groups: dict[str, list[str]]) -> None:
    hidden = {"id": "secret", "name": "s", "kind": "hidden"}
    vendor.json("/groups", {"items": [*({"id": key, "name": key.upper()} for key in groups), hidden]})
    for key, members in groups.items():
        vendor.json(f"/groups/{key}/members", {"items": [{"id": member} for member in members]})


MEMBERS = "select source_key from memberships where deleted_time is null order by source_key"


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


# -- tokens


def delta(**changes: Any) -> dict[str, Any]:
    return users(
        paginate={"kind": "OData"},
        sync={
            "mode": "Incremental",
            "token": {"from": '="@odata.deltaLink"', "place": "URL"},
            "deletes": {"tombstone": '="@removed"', "completeScan": "OnFull"},
            "maxDeletePercent": 100,
        },
        **changes,
    )


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


# -- formats

XML = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE OUT SYSTEM "https://vendor.example/out.dtd">
<OUT><RESPONSE><LIST>
<USER kind="person"><ID>u1</ID><NAME><![CDATA[One & only]]></NAME><MAILS><MAIL>A@x</MAIL></MAILS><NOTE/></USER>
<USER><ID>u2</ID><NAME>Two</NAME><MAILS><MAIL>b@x</MAIL><MAIL>c@x</MAIL></MAILS></USER>
</LIST><WARNING><URL>%s</URL></WARNING></RESPONSE></OUT>"""


def packed(kind: str, body: bytes) -> bytes:
    if kind == "gzip":
        return gzip.compress(body[:20]) + gzip.compress(body[20:])
    if kind == "zip":
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.txt", body)
        return buffer.getvalue()
    return body


@pytest.mark.parametrize("how", ["plain", "gzip", "zip"])
@pytest.mark.parametrize(
    ("form", "body", "changes"),
    [
        ("JSON", json.dumps({"items": [{"id": "u1", "name": "One"}, {"id": "u2"}]}).encode(), {"records": "=items"}),
        (
            "JSONLines",
            b'{"result":{"id":"u1","name":"One"}}\n{"last":1}\n{"result":{"id":"u2"}}',
            {"records": "=result"},
        ),
        ("CSV", b'# c\nid;name\nu1;"One\nand ; more"\nu2\n', {"records": None, "parse": {"delimiter": ";"}}),
        ("CSV", b"u1,One\nu2,Two\n", {"records": None, "parse": {"columns": ["id", "name"]}}),
        (
            "XML",
            XML % b"",
            {
                "records": "=OUT.RESPONSE.LIST.USER",
                "parse": {"lists": ["MAIL"]},
                "emit": [{"entity": "user", "key": "=ID", "fields": {"name": "=NAME", "email_addr": "=MAILS.MAIL[0]"}}],
            },
        ),
    ],
    ids=["JSON", "JSONLines", "CSV", "CSV without names", "XML"],
)
def test_formats_become_records_packed_or_not(
    vendor: Vendor, database: Path, how: str, form: str, body: bytes, changes: dict[str, Any]
) -> None:
    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=packed(how, body))

    emit = [{"entity": "user", "key": "=id", "fields": {"name": "=name"}}]
    stream = {**users(format=form, paginate={"kind": "None"}, emit=emit), **changes}
    stream = {name: value for name, value in stream.items() if value is not None}
    assert read(vendor, database, stream).reason is Reason.COMPLETED
    assert live(database) == ["u1", "u2"]
    assert str(rows(database, "select name from users order by source_key")[0][0]).startswith("One")


def test_xml_names_its_next_page_behind_the_records(vendor: Vendor, database: Path) -> None:
    @vendor.on("GET", "/users")
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=XML % f"{vendor.url}/p2".encode())

    @vendor.on("GET", "/p2")
    async def second(_request: web.Request) -> web.Response:
        return web.Response(body=b"<OUT><RESPONSE><LIST><USER><ID>u3</ID></USER></LIST></RESPONSE></OUT>")

    emit = [{"entity": "user", "key": "=ID"}]
    paginate = {"kind": "NextURL", "from": "=OUT.RESPONSE.WARNING.URL"}
    stream = users(format="XML", records="=OUT.RESPONSE.LIST.USER", paginate=paginate, emit=emit)
    assert read(vendor, database, stream).reason is Reason.COMPLETED
    assert live(database) == ["u1", "u2", "u3"]


@pytest.mark.parametrize(
    ("body", "answer", "code"),
    [
        (
            {"graphql": {"query": "query { a }"}},
            {"errors": [{"message": "token tok-123 may not", "extensions": {"code": "FORBIDDEN"}}], "data": None},
            "FORBIDDEN",
        ),
        ({"jsonRPC": {"method": "list"}}, {"error": {"code": -32001, "message": "tok-123"}}, "-32001"),
    ],
    ids=["GraphQL", "JSON-RPC"],
)
def test_an_error_in_a_good_answer_is_told_without_the_vendors_words(
    vendor: Vendor, database: Path, body: dict[str, Any], answer: dict[str, Any], code: str
) -> None:
    vendor.json("/users", answer, method="POST")
    result = read(vendor, database, users(request={"path": "/users", **body}))
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert code in result.message
    assert "tok-123" not in result.message


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


def test_a_large_document_is_cut_into_its_records_while_it_comes(
    vendor: Vendor, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "LARGE", 2_000)
    first = {"meta": {"items": [1]}, "items": people(200), "next": f"{vendor.url}/p2"}
    vendor.json("/users", first)
    vendor.json("/p2", {"items": [{"id": "last"}]})
    paginate = {"kind": "NextURL", "from": "=next"}
    result = read(vendor, database, users(paginate=paginate))
    assert (result.reason, result.streams[0].read) == (Reason.COMPLETED, 201)
    vendor.json("/users", {"items": "x" * 5_000})
    result = read(vendor, database, users(paginate=paginate), uid="sync-2")
    assert (result.reason, "where a list should be" in result.message) == (Reason.SCHEMA_MISMATCH, True)


def test_parts_of_an_export_may_be_packed_lines_at_another_host(vendor: Vendor, database: Path) -> None:
    with serving(Vendor()) as store:
        vendor.json("/export", {"id": 7}, method="POST")
        links = [f"{store.url}/part{n}" for n in range(2)]
        vendor.json("/export/7", {"status": "DONE", "links": links})
        for n in range(2):
            body = gzip.compress("".join(f'{{"id":"{n}{m}"}}\n' for m in range(3000)).encode())

            async def part(_request: web.Request, body: bytes = body) -> web.Response:
                return web.Response(body=body)

            store.on("GET", f"/part{n}")(part)
        stream = users(
            format="JSONLines",
            export={
                "create": {"path": "/export"},
                "jobID": "=id",
                "poll": {"path": "/export/${job.id}"},
                "status": {"from": "=status", "done": ["DONE"]},
                "parts": "=links",
                "fetch": {"path": "${part}"},
            },
        )
        for name in ("request", "records", "paginate"):
            del stream[name]
        result = read(vendor, database, stream)
        assert (result.reason, result.streams[0].read) == (Reason.COMPLETED, 6000)
        assert all("authorization" not in headers for headers in store.headers)
    assert len(live(database)) == 6000


@pytest.mark.parametrize("form", ["JSON", "JSONLines"])
def test_an_answer_that_breaks_off_is_asked_for_again(
    vendor: Vendor, database: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "PAUSE", 0.0)
    crowd = people(3000)
    lines = b"".join(json.dumps(one).encode() + b"\n" for one in crowd)
    body = json.dumps({"items": crowd}).encode() if form == "JSON" else lines
    left = [2]

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(body))})
        await response.prepare(request)
        left[0] -= 1
        await response.write(body if left[0] < 0 else body[:-50])
        if left[0] >= 0 and request.transport is not None:
            request.transport.close()
        return response

    stream = users(format=form, paginate={"kind": "None"})
    if form == "JSONLines":
        del stream["records"]
    assert read(vendor, database, stream).reason is Reason.COMPLETED
    assert len(live(database)) == 3000
    left[0] = 9
    assert read(vendor, database, stream, uid="sync-2").reason is Reason.UNREACHABLE


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
