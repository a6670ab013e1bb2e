"""Answers that no vendor should give: each ends in a sentence, what was read before stays, and memory stays bounded."""

from __future__ import annotations

import gzip
import io
import json
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.unit.engine.plans import plan, rows, spec, sync, users
from tests.unit.engine.test_engine_run import people
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline.api.manifest import Parse
from towline.contract import RunResult
from towline_connectors.engine.answers import array, document, packed, text, xml
from towline_connectors.engine.errors import EngineError, InvalidManifest, SchemaMismatch, Unreachable

ENTITIES = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;&b;&b;">]><a>&c;</a>"""
EXTERNAL = b"""<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>"""
HTML = b"<!DOCTYPE html><html><body>Log in</body></html>"


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, body in members:
            archive.writestr(name, body)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("form", "body", "error", "says"),
    [
        ("JSON", HTML, Unreachable, "a page instead of JSON"),
        ("JSON", b"", Unreachable, "nothing where JSON should be"),
        ("JSON", b'{"a": [1, 2', Unreachable, "half a document"),
        ("JSON", b"hello", SchemaMismatch, "not JSON"),
        ("JSON", b"[" * 100_000, Unreachable, "half a document"),
        ("JSON", b"[" * 100_000 + b"]" * 100_000, SchemaMismatch, "not JSON"),
        ("JSON", b'{"a": NaN}', SchemaMismatch, "not JSON"),
        ("JSON", gzip.compress(b'{"a": 1}' * 9)[:-12], Unreachable, "half a gzip file"),
        ("JSON", b"\x1f\x8bnonsense", Unreachable, "damaged gzip"),
        ("JSON", zipped(("a", b"{}"))[:-30], Unreachable, "damaged zip"),
        ("JSONLines", HTML, Unreachable, "a page instead"),
        ("JSONLines", b"one\ntwo\n", SchemaMismatch, "lines are not JSON"),
        ("JSONLines", b"x\n" * 50, SchemaMismatch, "lines are not JSON"),
        ("CSV", HTML, Unreachable, "a page instead"),
        ("XML", HTML, Unreachable, "a page instead of XML"),
        ("XML", b'{"a": 1}', SchemaMismatch, "not XML"),
        ("XML", b"<a><b>", Unreachable, "half a document"),
        ("XML", b"<a><b></a>", SchemaMismatch, "not XML"),
        ("XML", ENTITIES, SchemaMismatch, "defines entities"),
        ("XML", EXTERNAL, SchemaMismatch, "defines entities"),
        ("XML", b"<a>" * 5000, SchemaMismatch, "nested too deeply"),
    ],
)
def test_what_is_no_answer_is_told(form: str, body: bytes, error: type[EngineError], says: str) -> None:
    with pytest.raises(error, match=says):
        document.decode(body, form, "host", "/path")


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'\xef\xbb\xbf{"a": "\xe9"}', {"a": "\N{REPLACEMENT CHARACTER}"}),
        ('{"a": "é"}'.encode("utf-16"), {"a": "é"}),
        (b'{"a": 123456789012345678901234567890}', {"a": 123456789012345678901234567890.0}),
        (b'{"a": 1e400}', {"a": float("inf")}),
        (b'{"a": "\\ud800", "b": "x\\u0000y"}', {"a": "?", "b": "xy"}),
    ],
)
def test_json_that_is_odd_is_read(body: bytes, value: Any) -> None:
    assert document.decode(body, "JSON", "host", "/path") == value


def test_bombs_are_not_inflated_to_their_end() -> None:
    limit = 4 << 20
    bomb = gzip.compress(b"\0" * (64 << 20))
    tracemalloc.start()
    with pytest.raises(SchemaMismatch, match="more than 4 MiB"):
        packed.unpacked(bomb, "host's answer", limit)
    with pytest.raises(SchemaMismatch, match="more than 4 MiB"):
        packed.unpacked(zipped(("a", b"\0" * (32 << 20))), "host's answer", limit)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # The zip that the test itself makes is counted too.
    assert peak < 80 << 20


def test_zips_of_many_files_or_with_a_password_are_refused() -> None:
    with pytest.raises(SchemaMismatch, match="1001 files"):
        packed.unpacked(zipped(*((str(n), b"") for n in range(1001))), "it", 1 << 20)
    locked = bytearray(zipped(("a", b"data")))
    locked[6] |= 1
    locked[locked.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(SchemaMismatch, match="password"):
        packed.unpacked(bytes(locked), "it", 1 << 20)


def test_an_encoding_that_does_not_exist_is_the_manifests_fault() -> None:
    with pytest.raises(InvalidManifest, match="there is no encoding"):
        text.Lines(Parse(encoding="utf-99"), "h", "/p")
    assert document.decode("a\nü\n".encode("latin-1"), "CSV", "h", "/p", Parse(encoding="latin-1")) == [{"a": "ü"}]


def test_one_line_without_end_and_one_element_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_LINE", 1000)
    monkeypatch.setattr(xml, "MAX_TEXT", 1000)
    lines = text.JsonLines(None, "h", "/p")
    with pytest.raises(SchemaMismatch, match="a line of more than"):
        for _ in range(20):
            lines.feed(b'"' + b"x" * 100)
    element = xml.Xml(["a", "b"], None, "h", "/p")
    with pytest.raises(SchemaMismatch, match="too large"):
        element.feed(b"<a><b>" + b"<c>x</c>" * 100)


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_records_are_the_same_however_the_answer_is_cut(size: int) -> None:
    csv = 'id,note\n1,"a\nb ""q"", c"\n2,\n3,"é"\n'.encode()
    cutter = text.Csv(None, "h", "/p")
    found = [record for at in range(0, len(csv), size) for record in cutter.feed(csv[at : at + size])]
    assert [*found, *cutter.close()] == [
        {"id": "1", "note": 'a\nb "q", c'},
        {"id": "2", "note": ""},
        {"id": "3", "note": "é"},
    ]
    body = "<r a='1'><l><i>é</i><i x='2'>b</i></l><n>5</n></r>".encode()
    element = xml.Xml(["r", "l", "i"], None, "h", "/p")
    records = [record for at in range(0, len(body), size) for record in element.feed(body[at : at + size])]
    assert [*records, *element.close()] == ["é", {"@x": "2", "#text": "b"}]
    assert element.rest() == {"r": {"@a": "1", "l": None, "n": "5"}}


def test_the_pages_before_a_broken_one_stay(vendor: Vendor, database: Path) -> None:
    vendor.json("/users", {"items": people(3), "next": "/p2"})

    @vendor.on("GET", "/p2")
    async def broken(_request: web.Request) -> web.Response:
        return web.Response(body=b"not json")

    result = sync(plan(spec(vendor.url, [users(paginate={"kind": "NextURL", "from": "=next"})])), database)
    assert result.reason is Reason.SCHEMA_MISMATCH
    assert "GET" not in result.message.split("not JSON")[-1]
    assert len(rows(database, "select 1 from users")) == 3
    assert (result.streams[0].upserted, result.streams[0].rejected) == (3, 1)


def test_lines_that_are_broken_are_counted_and_delete_nothing(vendor: Vendor, database: Path) -> None:
    good = [json.dumps(one).encode() for one in people(30)]
    stream = users(format="JSONLines", paginate={"kind": "None"})
    stream.pop("records")

    def lines(*broken: bytes) -> None:
        async def handler(_request: web.Request) -> web.Response:
            return web.Response(body=b"\n".join([*good[: 30 - len(broken)], *broken]))

        vendor.on("GET", "/users")(handler)

    lines()
    assert sync(plan(spec(vendor.url, [stream])), database).reason is Reason.COMPLETED
    lines(b"{", b"\xff\xfe")
    result = sync(plan(spec(vendor.url, [stream]), uid="sync-2"), database)
    assert (result.reason, result.streams[0].rejected, result.streams[0].deleted) == (Reason.COMPLETED, 2, 0)
    assert len(rows(database, "select 1 from users where deleted_time is null")) == 30


@pytest.mark.parametrize(
    "item",
    [None, 1, "text", [], {"id": None}, {"id": {"a": 1}}, {"id": "x" * 2000}, {"id": "a", "mail": {"no": "text"}}],
    ids=lambda item: str(item)[:12],
)
def test_a_record_of_the_wrong_shape_is_kept_as_rejected(vendor: Vendor, database: Path, item: Any) -> None:
    vendor.json("/users", {"items": [*people(3), item]})
    result = sync(plan(spec(vendor.url, [users(paginate={"kind": "None"})])), database)
    assert (result.reason, result.streams[0].upserted, result.streams[0].rejected) == (Reason.COMPLETED, 3, 1)
    assert rows(database, "select stream, length(reason) > 0 from towline_rejected") == [("users", 1)]


def test_an_answer_of_any_length_takes_little_memory(vendor: Vendor, database: Path) -> None:
    count = 40_000
    block = b"".join(b'{"id":"%d","name":"%s"}\n' % (n % 500, b"n" * 200) for n in range(1000))

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        squeeze = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        for _ in range(count // 1000):
            await response.write(squeeze.compress(block))
        await response.write(squeeze.flush())
        return response

    stream = users(format="JSONLines", paginate={"kind": "None"}, sync={"mode": "Full"})
    stream.pop("records")
    tracemalloc.start()
    result = sync(plan(spec(vendor.url, [stream])), database)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (result.reason, result.streams[0].read) == (Reason.COMPLETED, count)
    assert peak < 16 << 20


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_records_of_a_json_document_are_the_same_however_it_is_cut(size: int) -> None:
    records: list[Any] = [{"id": 1.5, "n": "é\n"}, None, [], "a", 12, {"x": {"y": [True]}}, {"z": "a\0b"}]
    body = json.dumps({"a": {"list": [1]}, "r": {"list": records, "n": 1}, "next": "u"}).encode()
    cutter = array.JsonArray(["r", "list"], "h", "/p")
    found = [record for at in range(0, len(body), size) for record in cutter.feed(body[at : at + size])]
    assert [*found, *cutter.close()] == [*records[:-1], {"z": "ab"}]
    assert cutter.rest() == {"a": {"list": [1]}, "r": {"list": [], "n": 1}, "next": "u"}


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b'{"r": [1, 2', Unreachable),
        (b'{"r": [{"a": ', Unreachable),
        (b'{"r": [1 2]}', SchemaMismatch),
        (b'{"r" [1]}', SchemaMismatch),
        (b"{1: [1]}", SchemaMismatch),
        (b"[1]", SchemaMismatch),
    ],
)
def test_json_that_breaks_off_or_is_none_is_told_while_it_is_cut(body: bytes, error: type[EngineError]) -> None:
    cutter = array.JsonArray(["r"], "host", "/path")
    with pytest.raises(error, match="host answered /path"):
        cutter.feed(body)
        cutter.close()


CANARY = "canary-3f9a1c"
GOOD = json.dumps({"items": people(2), "next": None}).encode()


def _items(text: bytes) -> bytes:
    return b'{"items": [' + text + b'], "next": null, "note": "' + CANARY.encode() + b'"}'


def _deep(levels: int) -> bytes:
    return b'{"id": "deep", "x": ' + b"[" * levels + b"]" * levels + b"}"


SECOND_PAGES: dict[str, bytes] = {
    "html": b"<!DOCTYPE html><p>" + CANARY.encode() + b"</p>",
    "a text": CANARY.encode(),
    "nothing": b"",
    "null": b"null",
    "a number": b"5",
    "a list": b'["' + CANARY.encode() + b'"]',
    "records that are null": b'{"items": null}',
    "records that are a text": b'{"items": "' + CANARY.encode() + b'"}',
    "records that are a number": b'{"items": 5}',
    "records that are an object": b'{"items": {"' + CANARY.encode() + b'": 1}}',
    "no records at all": b'{"error": "' + CANARY.encode() + b'"}',
    "half a document": _items(b'{"id": 1}')[:20],
    "two documents": GOOD + GOOD,
    "a document with a tail": GOOD + CANARY.encode(),
    "a record too deep": _items(_deep(5000)),
    "a document too deep": b"[" * 200_000 + b"]" * 200_000,
    "brackets without end": b"[" * 200_000,
    "objects without end": b'{"a":' * 200_000,
    "a number of 5,000 digits": _items(b'{"id": ' + b"9" * 5000 + b"}"),
    "an exponent without sense": _items(b'{"id": 1e999999999}'),
    "no number": _items(b'{"id": NaN}'),
    "infinity": _items(b'{"id": -Infinity}'),
    "keys twice": _items(b'{"id": "a", "id": "b", "name": "x", "name": "y"}'),
    "the list twice": b'{"items": [{"id": "a"}], "items": [{"id": "b"}]}',
    "NUL in a text": _items(b'{"id": "a\\u0000b", "name": "\\u0000"}'),
    "half a surrogate": _items(b'{"id": "\\ud800", "name": "\\udfff"}'),
    "UTF-16": _items('{"id": "é"}'.encode()).decode().encode("utf-16"),
    "UTF-16 of the other end": b"\xfe\xff" + _items(b'{"id": "a"}').decode().encode("utf-16-be"),
    "UTF-8 with a mark": b"\xef\xbb\xbf" + _items(b'{"id": "a"}'),
    "Latin-1": _items('{"id": "é"}'.encode("latin-1")),
    "bytes of no encoding": _items(b'{"id": "\xc3\x28\xff"}'),
    "control characters": _items(b'{"id": "a\x01\x02\x1b[31m"}'),
    "gzip that ends early": gzip.compress(GOOD)[:-9],
    "gzip that is none": b"\x1f\x8b" + CANARY.encode(),
    "a bomb in gzip": gzip.compress(_items(b'{"id": "' + b"a" * (40 << 20) + b'"}')),
    "a bomb in gzip in gzip": gzip.compress(gzip.compress(b"\0" * (40 << 20))),
    "a bomb in zip": zipped(("a.json", b" " * (40 << 20))),
    "a long text": _items(b'{"id": "' + b"b" * (3 << 20) + b'"}'),
}  # fmt: skip


def weighed(work: Callable[[], RunResult], heavy: bool) -> tuple[RunResult, int]:
    """The result, and the bytes at the peak; counting them takes long, and only matters where something swells."""
    if not heavy:
        return work(), 0
    tracemalloc.start()
    try:
        result = work()
        return result, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


TYPED = {Reason.COMPLETED, Reason.SCHEMA_MISMATCH, Reason.UNREACHABLE}


@pytest.mark.parametrize("page", SECOND_PAGES)
def test_a_hostile_page_costs_itself_at_most(vendor: Vendor, database: Path, page: str) -> None:
    vendor.json("/users", {"items": people(3), "next": "/p2"})

    @vendor.on("GET", "/p2")
    async def second(_request: web.Request) -> web.Response:
        return web.Response(body=SECOND_PAGES[page], content_type="application/json")

    stream = users(paginate={"kind": "NextURL", "from": "=next"})
    manifest = spec(vendor.url, [stream], maxAnswerMiB=8)
    result, peak = weighed(lambda: sync(plan(manifest), database), "bomb" in page or "long" in page)
    assert result.reason in TYPED, result.message
    assert CANARY not in result.message
    assert rows(database, "select count(*) from users where deleted_time is null")[0][0] >= 3
    counted = result.streams[0]
    if result.reason is Reason.SCHEMA_MISMATCH:  # Unreachable is tried again, and loses nothing
        assert counted.rejected >= 1, "what is lost is counted"
    assert peak < 100 << 20


XML_PAGES: dict[str, bytes] = {
    "entities of entities": ENTITIES,
    "a file of this machine": EXTERNAL,
    "a billion laughs": b'<!DOCTYPE l [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><l>&j;</l>",
    "a definition from elsewhere": b'<!DOCTYPE a SYSTEM "http://127.0.0.1:1/x.dtd"><r><i><id>1</id></i></r>',
    "parameters": b'<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:1/x"> %p;]><r/>',
    "too deep": b"<r>" + b"<i>" * 20_000,
    "half": b"<r><i><id>1</id>",
    "crossed": b"<r><i></r></i>",
    "attributes without end": b"<r " + b" ".join(b'a%d="x"' % n for n in range(50_000)) + b"/>",
    "an unknown encoding": b'<?xml version="1.0" encoding="klingon"?><r/>',
    "UTF-16": '<?xml version="1.0" encoding="utf-16"?><r><i><id>é</id></i></r>'.encode("utf-16"),
    "html": HTML,
    "json": b'{"a": 1}',
    "a bomb in gzip": gzip.compress(b"<r><i><id>" + b"1" * (100 << 20)),
}


@pytest.mark.parametrize("page", XML_PAGES)
def test_hostile_xml_ends_in_a_sentence(vendor: Vendor, database: Path, page: str) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=XML_PAGES[page], content_type="text/xml")

    vendor.on("GET", "/users")(handler)
    stream = users(format="XML", records="=r.i", paginate={"kind": "None"}, sync={"mode": "Full"})
    run = plan(spec(vendor.url, [stream], maxAnswerMiB=8))
    result, peak = weighed(lambda: sync(run, database), "bomb" in page or "laughs" in page)
    assert result.reason in TYPED, result.message
    assert "root:" not in result.message
    assert peak < 100 << 20
