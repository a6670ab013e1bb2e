"""Bodies as recorders write them, and redirects that a recording's client followed."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from towline_connectors.kit import har
from towline_connectors.kit.replay import Recording

BODY = b'{"value": [{"id": "a1", "name": "caf\xc3\xa9"}]}'


def saved(folder: Path, *exchanges: dict[str, Any]) -> Path:
    file = folder / "recording.har"
    file.write_text(json.dumps({"log": {"entries": list(exchanges)}}))
    return file


def exchange(url: str, method: str = "GET", status: int = 200, **headers: str) -> dict[str, Any]:
    named = [{"name": name.replace("_", "-"), "value": value} for name, value in headers.items()]
    return {"request": {"method": method, "url": url}, "response": {"status": status, "headers": named, "content": {}}}


def packed(
    text: str, packing: str | None, encoding: str | None = None, kind: str = "application/json"
) -> dict[str, Any]:
    found = exchange("https://a.example/x", **({"content_encoding": packing} if packing else {}))
    found["response"]["content"] = {"mimeType": kind, "text": text} | ({"encoding": encoding} if encoding else {})
    return found


def base64_chunks(data: bytes, size: int) -> str:
    return json.dumps([base64.b64encode(data[at : at + size]).decode() for at in range(0, len(data), size)])


def hex_chunks(data: bytes, size: int) -> str:
    return json.dumps([data[at : at + size].hex() for at in range(0, len(data), size)])


def raw_deflate(data: bytes) -> bytes:
    squeezer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return squeezer.compress(data) + squeezer.flush()


@pytest.mark.parametrize(
    "recorded",
    [
        packed(BODY.decode(), None),
        packed(BODY.decode(), "gzip"),
        packed(BODY.decode(), "deflate"),
        packed(base64.b64encode(BODY).decode(), None, "base64"),
        packed(base64.b64encode(gzip.compress(BODY)).decode(), "gzip", "base64"),
        packed(base64.encodebytes(gzip.compress(BODY)).decode(), "gzip", "base64"),
        packed(base64_chunks(gzip.compress(BODY), 10), "gzip", "base64"),
        packed(hex_chunks(gzip.compress(BODY), 10), "gzip"),
        packed(gzip.compress(BODY).hex(), "gzip"),
        packed(base64_chunks(zlib.compress(BODY), 16), "deflate", "base64"),
        packed(base64_chunks(raw_deflate(BODY), 16), "deflate", "base64"),
        packed(hex_chunks(raw_deflate(BODY), 7), "deflate"),
        packed(BODY.decode(), None, "base64"),
        packed(base64.b64encode(BODY).decode(), "gzip", "base64"),
    ],
)
def test_a_body_is_read_whatever_a_recorder_made_of_it(tmp_path: Path, recorded: dict[str, Any]) -> None:
    [entry] = har.load(saved(tmp_path, recorded))
    assert entry.body == BODY
    assert entry.headers == ()


def test_a_list_of_texts_that_is_the_answer_stays_one(tmp_path: Path) -> None:
    [entry] = har.load(saved(tmp_path, packed('["10de", "1002"]', None)))
    assert entry.body == b'["10de", "1002"]'
    [entry] = har.load(saved(tmp_path, packed('["CVE-2026-1", "CVE-2026-2"]', "gzip")))
    assert entry.body == b'["CVE-2026-1", "CVE-2026-2"]'


def test_a_file_that_is_gzip_by_itself_stays_packed(tmp_path: Path) -> None:
    zipped = gzip.compress(BODY)
    file = packed(base64.b64encode(zipped).decode(), None, "base64", "application/gzip")
    [entry] = har.load(saved(tmp_path, file))
    assert entry.body == zipped


def test_what_is_no_base64_is_told_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"log.entries\[0\]: it has a wrong form"):
        har.load(saved(tmp_path, packed("*** cut ***", None, "base64")))


def test_a_redirect_that_was_followed_does_not_count(tmp_path: Path) -> None:
    file = saved(
        tmp_path,
        exchange("https://api.example/token", "POST", 308, location="https://api.eu.example/token"),
        exchange("https://api.eu.example/token", "POST"),
        exchange("https://api.example/hosts?limit=5", status=308, location="https://api.eu.example/hosts?limit=5"),
        exchange("https://api.eu.example/hosts?limit=5"),
        exchange("https://api.example/alerts", status=302, location="https://login.example/"),
    )
    found = Recording.load(file).entries
    assert [(entry.method, entry.url, entry.status) for entry in found] == [
        ("POST", "https://api.eu.example/token", 200),
        ("GET", "https://api.eu.example/hosts", 200),
        ("GET", "https://api.example/alerts", 302),
    ]


def test_headers_are_kept_as_they_can_be_sent_again(tmp_path: Path) -> None:
    odd = {":status": "200", "Set_Cookie": "a=1\nb=2", "X_Odd": "c\x01d", "no name": "e"}
    recorded = exchange("https://a.example/x", **odd)
    [entry] = har.load(saved(tmp_path, recorded))
    assert entry.headers == (("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-odd", "cd"))
