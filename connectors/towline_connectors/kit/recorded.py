"""What a recording has of a request of a manifest, whatever host, and what was sent in it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson

from towline_connectors.engine import expressions
from towline_connectors.engine.errors import InvalidManifest
from towline_connectors.engine.values import Mismatch
from towline_connectors.kit.har import Entry
from towline_connectors.kit.matching import resource

REFERENCE = re.compile(r"\$\{[^}]*\}")
Manifest = dict[str, Any]


def pattern(path: str) -> re.Pattern[str]:
    """What a path with references can look like."""
    return re.compile("".join("[^/]+" if n % 2 else re.escape(p) for n, p in enumerate(_split(path))))


def _split(path: str) -> list[str]:
    return re.split(f"({REFERENCE.pattern})", path)


def asked_by(stream: Manifest) -> Manifest:
    """The request of a stream of the manifest, or the one that makes its export."""
    found: Manifest = stream.get("request") or (stream.get("export") or {}).get("create") or {}
    return found


def exchanges(request: Manifest, entries: Sequence[Entry]) -> list[Entry]:
    """The exchanges of a request of the manifest, whatever its host."""
    if "path" not in request:
        return []
    path = "/" + request["path"].partition("?")[0].lstrip("/")
    ending = re.compile(pattern(path).pattern + r"\Z")
    found = [entry for entry in entries if ending.search(entry.path)]
    if found or "${" in path:
        return found
    wanted = resource(f"/api{path}")[1:]
    return [entry for entry in entries if resource(entry.path)[-len(wanted) :] == wanted] if wanted else []


def parameters(entry: Entry) -> dict[Any, Any]:
    return {**leaves(document(entry.sent)), **dict(entry.form), **dict(entry.query)}


def document(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def looked_up(expression: str, answer: Any) -> Any:
    """What an expression of the manifest finds in an answer; None where it does not fit."""
    try:
        return expressions.compile_expression(expression)(answer)
    except (Mismatch, InvalidManifest):
        return None


def leaves(value: Any, place: str = "") -> dict[str, Any]:
    """Values of a body by dotted names."""
    if not isinstance(value, dict):
        return {place: value} if place else {}
    found: dict[str, Any] = {}
    for key, member in value.items():
        found |= leaves(member, f"{place}.{key}" if place else str(key))
    return found
