"""A page whose records are read where they are mapped comes to what a page comes to that is read at once."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.engine.plans import plan, rows, spec, sync, users
from tests.unit.engine.vendor import Vendor

from towline_connectors.engine import writer
from towline_connectors.engine.answers import cut as cutting
from towline_connectors.engine.answers.cut import cut, joined

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e9, 1e9) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(st.lists(JSON, max_size=6), st.dictionaries(st.text(max_size=5), JSON, max_size=4), st.integers(0, 3))
def test_what_is_cut_is_what_was_there(records: list[Any], around: dict[str, Any], depth: int) -> None:
    path = [f"level {number}" for number in range(depth)]
    document: Any = records
    empty: Any = []
    for name in reversed(path):
        document, empty = {**around, name: document}, {**around, name: empty}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "SMALL", 0)
        try:
            text = orjson.dumps(document)
        except TypeError:  # half a surrogate pair
            return
        found = cut(text, path)
    assert found is not None
    assert orjson.loads(joined(found[1])) == records
    assert found[0] == empty


@pytest.mark.parametrize(
    "document",
    [
        b"", b"<html>", b'{"items": null}', b'{"other": []}', b'{"items": {"a": 1}}', b'{"items": [1,]}',
        b'{"items": [NaN]}',
        b'{"items": [1]', b'{"items": [1]} x', b'\xef\xbb\xbf{"items": [1]}', b"[1]", b'{"items": [' + b"[" * 5000,
        b'{"items": ["\\ud800"]}', '{"items": [1]}'.encode("utf-16"),
    ],
)  # fmt: skip
def test_what_is_odd_is_left_to_who_can_tell_about_it(document: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "SMALL", 0)
    assert cut(document, ["items"]) is None


def test_a_small_document_is_read_at_once() -> None:
    assert cut(b'{"items": [1]}', ["items"]) is None


PAGES = [
    b'{"items": [{"id": "a", "name": "A", "mail": "a@x.example"}, {"id": "b", "name": "\\u0000B"}]}',
    b'{"items": [ {"id": "c", "name": "C", "mail": 12345678901234567890123}, {"name": "nobody"} ], "total": 9}',
    b'{"items": [{"id": "d", "name": "\xff\xfe"}]}',
    b'{"items": [{"id": "e", "name": "E", "deep": ' + b"[" * 1500 + b"]" * 1500 + b"}]}",
    b'{"items": [{"id": "f", "name": 1e999}, "text", null, 7, {"id": "g"}]}',
    b'{"items": [{"id": "a", "name": "A again", "name": "twice"}]}',
    b'{"items": [{"id": "h", "name": "half a pair \\ud800"}]}',
    b'{"items": [{"id": "i", "name": "I"}, {"id": "j",}]}',
]


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("number", range(len(PAGES)))
def test_any_page_comes_to_the_same_rows_and_the_same_end(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, apart: bool
) -> None:
    page = PAGES[number]
    monkeypatch.setattr("asyncio.sleep", no_pause)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        body = page if request.query["offset"] == "0" else b'{"items": []}'
        return web.Response(body=body, content_type="application/json")

    paginate = {"kind": "Offset", "offset": "offset", "limit": "limit", "size": 1, "until": "Empty"}
    manifest = spec(vendor.url, [users(paginate=paginate)])
    found = []
    for small in (1 << 30, 0):
        monkeypatch.setattr(cutting, "SMALL", small)
        database = tmp_path / f"{small}.db"
        result = sync(plan(manifest), database, apart=apart)
        tables = [contents(database, table) for table in ("users", "towline_rejected", "towline_checkpoints")]
        streams = [(one.read, one.upserted, one.rejected) for one in result.streams]
        found.append((result.reason, result.message, streams, tables))
    assert found[0] == found[1]


async def no_pause(_seconds: float, result: Any = None) -> Any:
    return result


def contents(database: Path, table: str) -> list[tuple[Any, ...]]:
    columns = {
        "users": "source_key, name, email_addr, content_hash, raw, deleted_time",
        "towline_rejected": "source_key, reason, raw",
        "towline_checkpoints": "stream, cursor, full_scan",
    }[table]
    try:
        return rows(database, f"select {columns} from {table} order by 1, 2")
    except sqlite3.OperationalError:
        return []


def test_records_that_the_other_process_cannot_read_end_the_stream_and_cost_no_others(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut well, and yet no JSON that can be read: what lies deeper than both readers go."""
    monkeypatch.setattr(cutting, "SMALL", 0)
    monkeypatch.setattr(writer, "MAX_RECORDS", 4)
    monkeypatch.setattr(writer, "STEP", 2)
    monkeypatch.setattr("towline_connectors.engine.sharing.Pace.learn", lambda self, *_: setattr(self, "parts", 1))
    people = [{"id": f"u{number}", "name": f"User {number}"} for number in range(20)]

    def read(body: bytes, host: str, shown: str) -> Any:
        if b'"u9"' in body and b'"u0"' not in body:
            raise cutting_error(f"{host} answered {shown} with something odd.")
        return orjson.loads(body)

    monkeypatch.setattr("towline_connectors.engine.answers.json.loads", read)

    @vendor.on("GET", "/users")
    async def handler(request: web.Request) -> web.Response:
        at = int(request.query["offset"])
        return web.json_response({"items": people[at : at + 10]})

    for name, apart in (("one.db", False), ("two.db", True)):
        result = sync(plan(spec(vendor.url, [users()])), tmp_path / name, apart=apart)
        assert result.reason == "SchemaMismatch"
        assert "127.0.0.1 answered /users with something odd." in result.message
        kept = {key for (key,) in rows(tmp_path / name, "select source_key from users where deleted_time is null")}
        assert kept == {f"u{number}" for number in range(8)}
        assert result.streams[0].rejected == 1


def cutting_error(text: str) -> Exception:
    from towline_connectors.engine.errors import SchemaMismatch

    return SchemaMismatch(text)
