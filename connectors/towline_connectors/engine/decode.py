"""From an answer's bytes to values: JSON, CSV and lines of text, whatever is wrong with them."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import orjson

from towline_connectors.engine.errors import EngineError, SchemaMismatch, Unreachable

MAX_FIELD = 1 << 20  # characters of one CSV field


def decode(body: bytes, form: str, host: str, shown: str) -> Any:
    """The value of an answer in format JSON, CSV or Lines. Raises SchemaMismatch, or Unreachable when the body
    looks like something between us and the API: a login page, a sleeping instance, half an answer."""
    if form == "Lines":
        return _lines(body)
    if form == "CSV":
        return _csv(body, host, shown)
    return decode_json(body, host, shown)


def decode_json(body: bytes, host: str, shown: str) -> Any:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _second_try(body, host, shown)
    # PostgreSQL holds no NUL in text, and nothing that people read needs one.
    return _clean(value) if b"\\u0000" in body else value


def _second_try(body: bytes, host: str, shown: str) -> Any:
    text = body.decode("utf-8-sig", "replace").strip()
    try:
        value = json.loads(text, parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError):
        raise _not_json(text, host, shown) from None
    return _clean(value)


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 19 else float(digits)


def _not_json(text: str, host: str, shown: str) -> EngineError:
    if not text:
        return Unreachable(f"{host} answered {shown} with nothing where JSON should be.")
    if text.startswith("<"):
        return Unreachable(
            f"{host} answered {shown} with a page instead of JSON: a login page, a proxy or a sleeping instance."
            " Open the address in a browser to see which."
        )
    if text[0] in "[{" and text[-1] not in "]}":
        return Unreachable(f"{host} answered {shown} with half a document.")
    return SchemaMismatch(f"{host} answered {shown} with text that is not JSON.")


def _clean(value: Any, depth: int = 0) -> Any:
    """Without NUL and half surrogates in texts."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if depth > 500:
        return None
    if isinstance(value, list):
        return [_clean(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _clean(item, depth + 1) for key, item in value.items()}
    return value


def _lines(body: bytes) -> list[dict[str, str]]:
    """One record {line} for each line that is neither empty nor a comment (#)."""
    text = body.decode("utf-8-sig", "replace").replace("\0", "")
    lines = (line.strip() for line in text.splitlines())
    return [{"line": line} for line in lines if line and not line.startswith("#")]


def _csv(body: bytes, host: str, shown: str) -> list[dict[str, str | None]]:
    """Records by the names of the first line that is no comment; cells beyond them are dropped."""
    text = body.decode("utf-8-sig", "replace").replace("\0", "")
    lines = (line for line in io.StringIO(text, newline="") if not line.startswith("#"))
    csv.field_size_limit(MAX_FIELD)
    try:
        return [{k: v for k, v in row.items() if k is not None} for row in csv.DictReader(lines)]
    except csv.Error:
        raise SchemaMismatch(f"{host} answered {shown} with text that is not CSV.") from None
