"""Which rows of a batch are new, changed or merely seen again. Pure: both SQL destinations decide by this."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import blake2b
from typing import Any, NamedTuple

from towline_connectors.entities.model import Entity
from towline_connectors.sinks.base import Batch, Replacement

Row = tuple[Any, ...]
Seen = tuple[str, str | None, str | None, bytes | None]  # source_key, source_time, scan_id, raw

# Places in a row counted from its end: entities.model.TRAILING.
SOURCE_TIME, CONTENT_HASH, SCAN_ID, RAW = -4, -3, -2, -1


class Stored(NamedTuple):
    """What a destination knows of a row that it has."""

    content_hash: int | None
    source_time: str | datetime | None
    deleted: bool
    run_id: str
    scan_id: str | None
    stream: str


@dataclass(slots=True)
class Changes:
    """`seen` are rows that keep their fields; None as source_time or raw keeps the old value."""

    new: list[Row] = field(default_factory=list)
    changed: list[Row] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)


def _instant(value: str | datetime) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def is_older(one: str | datetime | None, other: str | datetime | None) -> bool:
    """Whether `one` is certainly before `other`: an unknown time is never older."""
    if one is None or other is None or one == other:
        return False
    return _instant(one) < _instant(other)


def latest(rows: list[Row]) -> dict[str, Row]:
    """One row a key: the newest by source time, and of equals the last."""
    by_key = {row[0]: row for row in rows}
    if len(by_key) == len(rows):
        return by_key
    by_key = {}
    for row in rows:
        known = by_key.get(row[0])
        if known is None or not is_older(row[SOURCE_TIME], known[SOURCE_TIME]):
            by_key[row[0]] = row
    return by_key


def sort_rows(rows: dict[str, Row], stored: dict[str, Stored], stream: str, run_id: str) -> Changes:
    """Sort a batch's rows against what the destination has. A row that this run wrote already, with the same
    content, is left out."""
    changes = Changes()
    if not stored:
        changes.new = list(rows.values())
        return changes
    new, changed, seen = changes.new, changes.changed, changes.seen
    for key, row in rows.items():
        old = stored.get(key)
        if old is None:
            new.append(row)
            continue
        source_time = row[SOURCE_TIME]
        if is_older(source_time, old.source_time):
            seen.append((key, None, row[SCAN_ID], None))
        elif old.deleted or old.content_hash != row[CONTENT_HASH]:
            changed.append(row)
        elif (
            old.run_id != run_id
            or old.scan_id != row[SCAN_ID]
            or old.stream != stream
            or (source_time is not None and (old.source_time is None or is_older(old.source_time, source_time)))
        ):
            seen.append((key, source_time, row[SCAN_ID], row[RAW]))
    return changes


def columns_of(entity: Entity, rows: list[Row]) -> dict[str, tuple[Any, ...]]:
    """The rows by column, without the columns that are None in all of them: most sources fill a third of an
    entity's fields, and each column that a statement names costs time in every row."""
    by_column = zip(entity.columns, zip(*rows, strict=True), strict=True)
    count = len(rows)
    return {
        name: values
        for name, values in by_column
        if values[0] is not None or name == "source_key" or values.count(None) < count
    }


def uids(entity: Entity, integration: str, keys: Iterable[str]) -> list[str]:
    """The uid of each row: a hash of integration, entity and source key, the same in every destination."""
    start = blake2b(f"{integration}\0{entity.name}\0".encode(), digest_size=16).copy
    found = []
    for key in keys:
        own = start()
        own.update(key.encode())
        found.append(own.hexdigest())
    return found


def storable(batch: Batch) -> Batch:
    """The batch without what a database may refuse in text: NUL and halves of surrogate pairs."""
    return replace(
        batch,
        rows={name: [_mended(row) for row in rows] for name, rows in batch.rows.items()},
        tombstones={name: _mended(keys) for name, keys in batch.tombstones.items()},
        replacements=[Replacement(r.entity, r.field, _mended(r.key), _mended(r.keys)) for r in batch.replacements],
        rejected=[_mended(rejected) for rejected in batch.rejected],
    )


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        whole = value if value.isascii() else value.encode("utf-8", "replace").decode()
        return whole.replace("\0", "\N{REPLACEMENT CHARACTER}")
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, tuple):
        return tuple(_mended(item) for item in value)
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value
