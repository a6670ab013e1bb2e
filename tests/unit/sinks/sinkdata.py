"""Rows, batches and sessions for the destinations' tests, and what stands in a destination afterwards."""

from __future__ import annotations

import json
import zlib
from datetime import UTC, datetime
from typing import Any

from towline.contract import SyncIdentity
from towline_connectors import entities
from towline_connectors.sinks import open_sink, query
from towline_connectors.sinks.base import Session

INTEGRATION = "team/scanner"


def identity(uid: str = "sync-1", attempt: int = 1, created: str = "2026-11-01T10:00:00Z") -> SyncIdentity:
    return SyncIdentity(uid=uid, name=f"{uid}-name", namespace="team", attempt=attempt, created=created)


def open_session(
    target: str, uid: str = "sync-1", attempt: int = 1, pod: str = "pod-1", integration: str = INTEGRATION, **time: str
) -> Session:
    return open_sink(target).open(integration, "scanner", identity(uid, attempt, **time), pod)


def row(
    entity: str, key: str, *, source_time: str | None = None, scan: str | None = None, raw: Any = None, **fields: Any
) -> tuple[Any, ...]:
    """A row as the engine makes it; the hash covers the fields and not raw."""
    known = entities.get(entity)
    unknown = fields.keys() - {field.column for field in known.fields}
    assert not unknown, unknown
    content = json.dumps(fields, sort_keys=True).encode()
    content_hash = zlib.crc32(content) - 2**31
    body = None if raw is None else json.dumps(raw).encode()
    return (key, *(fields.get(field.column) for field in known.fields), source_time, content_hash, scan, body)


def rows_of(target: str, name: str) -> list[dict[str, Any]]:
    """All rows, deleted ones too, with the same Python values whichever destination it is."""
    found = query.rows(target, name, limit=1_000_000, with_deleted=True)
    known = next((entity for entity in entities.REGISTRY.values() if name in (entity.name, entity.table)), None)
    kinds = {field.column: field.type for field in known.fields} if known else {}
    kinds |= {"raw": "json"} if known else {"job": "json", "streams": "json", "http": "json"}
    return [
        {column: _plain(value, kinds.get(column)) for column, value in zip(found.columns, values, strict=True)}
        for values in found.rows
    ]


def by_key(target: str, name: str) -> dict[str, dict[str, Any]]:
    return {one["source_key"]: one for one in rows_of(target, name)}


def live(target: str, name: str) -> set[str]:
    return {one["source_key"] for one in rows_of(target, name) if one["deleted_time"] is None}


def _plain(value: Any, kind: str | None) -> Any:
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC).isoformat(timespec='milliseconds')[:23]}Z"
    if kind == "boolean" and value is not None:
        return bool(value)
    if kind in ("texts", "json") and isinstance(value, str):
        return json.loads(value)
    return value
