"""Answers that are one JSON document, whatever is wrong with it."""

from __future__ import annotations

import json
from typing import Any

import orjson

from towline_connectors.engine.errors import EngineError, SchemaMismatch, Unreachable


def loads(body: bytes, host: str, shown: str) -> Any:
    """Raises SchemaMismatch, or Unreachable when the body looks like something between us and the API: a login page,
    a sleeping instance, half an answer."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        value = _second_try(body, host, shown)
    # PostgreSQL holds no NUL in text, and nothing that people read needs one.
    return clean(value) if b"\\u0000" in body else value


def _second_try(body: bytes, host: str, shown: str) -> Any:
    text = body.decode(_encoding(body), "replace").strip()
    try:
        value = json.loads(text, parse_constant=_refuse, parse_int=_integer)
    except (ValueError, RecursionError):
        raise _not_json(text, host, shown) from None
    return clean(value)


def _encoding(body: bytes) -> str:
    if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    return "utf-8-sig"


def _refuse(constant: str) -> Any:
    raise ValueError(constant)


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) < 19 else float(digits)


def refuse_page(text: str, host: str, shown: str, what: str = "data") -> None:
    """Raises Unreachable when an answer is a web page."""
    if text.lstrip()[:1] == "<":
        raise Unreachable(
            f"{host} answered {shown} with a page instead of {what}: a login page, a proxy or a sleeping instance."
            " Open the address in a browser to see which."
        )


def _not_json(text: str, host: str, shown: str) -> EngineError:
    if not text:
        return Unreachable(f"{host} answered {shown} with nothing where JSON should be.")
    try:
        refuse_page(text, host, shown, "JSON")
    except Unreachable as page:
        return page
    if text[0] in "[{" and text[-1] not in "]}":
        return Unreachable(f"{host} answered {shown} with half a document.")
    return SchemaMismatch(f"{host} answered {shown} with text that is not JSON.")


def clean(value: Any, depth: int = 0) -> Any:
    """Without NUL and half surrogates in texts; what lies deeper than 500 levels is dropped."""
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if depth > 500:
        return None
    if isinstance(value, list):
        return [clean(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {clean(key): clean(item, depth + 1) for key, item in value.items()}
    return value
