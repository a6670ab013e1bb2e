"""Answers become records: formats, packed or not, and what a good answer says of an error."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import live, read, rows, users
from tests.unit.engine.test_engine_run import people
from tests.unit.engine.vendor import Vendor, serving

from towline.api.conditions import Reason
from towline_connectors.engine.reading import fetch

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
