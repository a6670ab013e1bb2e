"""Reads HAR 1.2 files: recorded requests with their answers, whatever tool recorded them."""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

MAX_BYTES = 512 << 20  # of one file
Pairs = tuple[tuple[str, str], ...]
# Of the connection that was recorded, or no longer true once the body is decoded.
_DROPPED = {"content-length", "content-encoding", "transfer-encoding", "connection", "keep-alive", "date", "server"}
_FORM = "application/x-www-form-urlencoded"
_PLAIN = {b"{", b"[", b"<", b"\n", b"\r", b" "}  # how JSON and XML begin
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_HEX = re.compile(r"(?:[0-9a-fA-F]{2})+")


@dataclass(frozen=True, slots=True)
class Entry:
    """One exchange. `path` is decoded; `query` and `form` keep their order and repetitions."""

    method: str
    scheme: str
    netloc: str
    path: str
    query: Pairs
    form: Pairs
    sent: bytes  # body of the request; empty for a form
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    time: str | None  # when it began, ISO 8601

    @property
    def host(self) -> str:
        return urlsplit(f"//{self.netloc}").hostname or ""

    @property
    def url(self) -> str:
        """Without its query."""
        return f"{self.scheme}://{self.netloc}{self.path}"


def load(*files: Path | str) -> list[Entry]:
    """The answered exchanges of the files, in their order. ValueError: a file is no HAR, with the place in it."""
    found: list[Entry] = []
    for file in files:
        path = Path(file)
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"{file} is larger than {MAX_BYTES >> 20} MiB")
            content = json.loads(path.read_bytes())
        except OSError as error:
            raise ValueError(f"{file} cannot be read: {error.strerror or type(error).__name__}") from None
        except RecursionError:
            raise ValueError(f"{file} is no HAR file: it is nested too deeply") from None
        except ValueError as error:
            raise ValueError(error.args[0] if "MiB" in str(error) else f"{file} is no HAR file: no JSON") from None
        log = content.get("log") if isinstance(content, dict) else None
        entries = log.get("entries") if isinstance(log, dict) else None
        if not isinstance(entries, list):
            raise ValueError(f"{file} is no HAR file: it has no log.entries")
        for number, item in enumerate(entries):
            try:
                entry = _entry(item)
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else "it has a wrong form"
                raise ValueError(f"{file} is no HAR file: log.entries[{number}]: {what}") from None
            # 0: the request was given up; 304: the answer was in a cache, and is not in the file.
            if entry.status not in (0, 304):
                found.append(entry)
    return found


def began(entries: Iterable[Entry]) -> datetime | None:
    """When the recording was made, if it says so."""
    for entry in entries:
        if entry.time:
            try:
                moment = datetime.fromisoformat(entry.time.replace("Z", "+00:00"))
            except ValueError:
                continue
            return moment if moment.tzinfo else None
    return None


def _entry(item: dict[str, Any]) -> Entry:
    request, response = item["request"], item["response"]
    url = urlsplit(request["url"])
    query = parse_qsl(url.query, keep_blank_values=True)
    if not url.query:
        query = [(str(pair["name"]), str(pair.get("value", ""))) for pair in request.get("queryString") or []]
    form, sent = _sent(request.get("postData") or {})
    headers = list(_headers(response.get("headers") or []))
    started = item.get("startedDateTime")
    return Entry(
        method=request["method"].upper(),
        scheme=url.scheme or "https",
        netloc=url.netloc.rpartition("@")[2],
        path=unquote(url.path) or "/",
        query=tuple(query),
        form=tuple(form),
        sent=sent,
        status=int(response["status"]),
        headers=tuple((name, value) for name, value in headers if name not in _DROPPED),
        body=_body(response.get("content") or {}, tuple(headers)),
        time=started if isinstance(started, str) else None,
    )


def _headers(recorded: Iterable[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """The headers that can be sent again: without the pseudo headers of HTTP/2. Browsers write several of one name as
    lines of one."""
    for header in recorded:
        name = str(header["name"]).strip().lower()
        if _TOKEN.fullmatch(name):
            yield from ((name, _CONTROL.sub("", line)) for line in str(header["value"]).splitlines() or [""])


def _sent(post: dict[str, Any]) -> tuple[list[tuple[str, str]], bytes]:
    """The pairs of a form, or the body of another kind."""
    text = post.get("text") or ""
    body = _decoded(text) if post.get("encoding") == "base64" else text.encode()
    if str(post.get("mimeType") or "").partition(";")[0].strip().lower() != _FORM:
        return [], body
    if post.get("params"):
        return [(str(pair["name"]), str(pair.get("value", ""))) for pair in post["params"]], b""
    return parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True), b""


def _body(content: dict[str, Any], headers: Pairs) -> bytes:
    """An answer as its client saw it. Recorders differ: some write text, some base64 of it, some what came over the
    wire, as one text or as a list of its chunks; and some say base64 of what is text."""
    text = content.get("text") or ""
    if not isinstance(text, str):
        raise TypeError
    packing = next((value.strip().lower() for name, value in headers if name == "content-encoding"), "")
    is_base64 = content.get("encoding") == "base64"
    chunks = _chunks(text) if is_base64 or packing else None
    if chunks is not None:
        body = b"".join(chunks)
    elif packing and _HEX.fullmatch(text) and text.startswith("1f8b"):
        body = bytes.fromhex(text)
    elif is_base64:
        body = _decoded(text)
    else:
        body = text.encode("utf-8", "surrogatepass")
    # A file that is gzip by itself is not called text or JSON.
    kind = str(content.get("mimeType") or "").partition(";")[0].strip().lower()
    if body[:2] == b"\x1f\x8b" and (packing or kind.startswith("text/") or kind.endswith(("json", "xml", "csv"))):
        return _inflated(body, 16 + zlib.MAX_WBITS) or body
    if "deflate" in packing and body[:1] not in _PLAIN:
        return _inflated(body, zlib.MAX_WBITS) or _inflated(body, -zlib.MAX_WBITS) or body
    return body


def _chunks(text: str) -> list[bytes] | None:
    """What Polly.JS makes of a packed body: a JSON list of its chunks, each as base64 or as hexadecimal digits."""
    if not text.startswith('["'):
        return None
    try:
        found = json.loads(text)
        if not all(isinstance(each, str) for each in found):
            return None
        if all(_HEX.fullmatch(each) for each in found):
            return [bytes.fromhex(each) for each in found]
        return [base64.b64decode(each, validate=True) for each in found]
    except ValueError:
        return None


def _inflated(body: bytes, form: int) -> bytes:
    """The body unpacked, as far as it goes; nothing where it is packed in another way."""
    inflater = zlib.decompressobj(form)
    try:
        return inflater.decompress(body, MAX_BYTES)
    except zlib.error:
        return b""


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        if text[:1].encode() in _PLAIN:
            return text.encode("utf-8", "surrogatepass")
        raise ValueError("base64") from None
