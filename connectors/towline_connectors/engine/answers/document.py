"""An answer as one value, whatever its format: for error rules, health calls and steps of an export."""

from __future__ import annotations

from typing import Any

from towline.api.manifest import Parse
from towline_connectors.engine.answers import json, packed, text, xml
from towline_connectors.engine.errors import InvalidManifest

MAX_DOCUMENT = 256 << 20  # bytes of one JSON document after unpacking


def splitter(form: str, path: list[str] | None, parse: Parse | None, host: str, shown: str) -> text.Splitter:
    """What cuts an answer of a format into records. Raises InvalidManifest."""
    if form == "XML":
        return xml.Xml(path, parse, host, shown)
    made = {"JSONLines": text.JsonLines, "CSV": text.Csv, "Lines": text.Lines}.get(form)
    if made is None:
        raise InvalidManifest(f"format: there is no format {form}.")
    return made(parse, host, shown)


def decode(body: bytes, form: str, host: str, shown: str, parse: Parse | None = None) -> Any:
    """The value of a whole body; a list of records for JSONLines, CSV and Lines. Raises SchemaMismatch, Unreachable."""
    body = packed.unpacked(body, f"{host}'s answer to {shown}", MAX_DOCUMENT)
    if form == "JSON":
        return json.loads(body, host, shown)
    cutter = splitter(form, None, parse, host, shown)
    found = [*cutter.feed(body), *cutter.close()]
    return cutter.rest() if form == "XML" else found


def document(body: bytes) -> Any:
    """A JSON or XML body as a value, for error rules. Raises SchemaMismatch, Unreachable when it is neither."""
    if body[:1] == b"<" or body.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] == b"<":
        cutter = xml.Xml(None, None, "", "")
        cutter.feed(body)
        cutter.close()
        return cutter.rest()
    return json.loads(body, "", "")
