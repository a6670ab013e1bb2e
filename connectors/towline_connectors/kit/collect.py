"""A destination in memory: what a connector makes, to print or to compare."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any

import orjson

from towline.contract import RunResult, SyncIdentity
from towline_connectors import entities
from towline_connectors.entities.model import TRAILING
from towline_connectors.sinks.base import Batch, Session, StreamState, Written


class Collector:
    """A Sink and its Session. `rows` has the rows by (stream, entity, source key)."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str, str], tuple[Any, ...]] = {}
        self.rejected: list[tuple[str, str | None, str]] = []
        self.saved: dict[str, StreamState] = {}

    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        return self

    def states(self) -> dict[str, StreamState]:
        return dict(self.saved)

    def commit(self, batch: Batch) -> Written:
        written = Written()
        for entity, rows in batch.rows.items():
            for row in rows:
                key = (batch.stream, entity, row[0])
                known = self.rows.get(key)
                written.upserted += known is None or known[-3] != row[-3]
                self.rows[key] = row
        for entity, keys in batch.tombstones.items():
            for key_ in keys:
                written.deleted += self.rows.pop((batch.stream, entity, key_), None) is not None
        for one in batch.replacements:
            place = entities.get(one.entity).columns.index(f"{one.field}_key")
            gone = [
                key
                for key, row in self.rows.items()
                if key[1] == one.entity and row[place] == one.key and key[2] not in one.keys
            ]
            written.deleted += len(gone)
            for key in gone:
                del self.rows[key]
        self.rejected.extend((batch.stream, key, why) for key, why, _raw in batch.rejected)
        if batch.state is not None:
            self.saved[batch.stream] = batch.state
        return written

    def finish_scan(
        self, stream: str, entities: list[str], scan_id: str, state: StreamState, max_delete_percent: int | None
    ) -> Written:
        gone = [key for key, row in self.rows.items() if key[0] == stream and row[-2] != scan_id]
        for key in gone:
            del self.rows[key]
        self.saved[stream] = state
        return Written(deleted=len(gone))

    def finish(self, result: RunResult) -> None: ...

    def close(self) -> None: ...

    def records(self, mapped: Mapping[tuple[str, str], Set[str]] | None = None) -> Iterator[dict[str, Any]]:
        """Each row as an object: entity, stream, source_key, and the fields that have a value or stand in `mapped`,
        by stream and entity."""
        for (stream, name, key), row in self.rows.items():
            entity = entities.get(name)
            found: dict[str, Any] = {"entity": name, "stream": stream, "source_key": key}
            shown = (mapped or {}).get((stream, name), frozenset())
            for field, value in zip(entity.fields, row[1 : -len(TRAILING)], strict=True):
                if value is not None or field.name in shown:
                    is_json = field.type == "json" and isinstance(value, str)
                    found[field.column] = orjson.loads(value) if is_json else value
            yield found
