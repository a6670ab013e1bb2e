"""The record of what happened: runs, checks of credentials, changes. Rows are written once and never changed; the
tables' guards (`schema.guards`) refuse all else until a row's `keep_until`. Each call belongs in a transaction."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from towline.contract import Activity, RunResult, SyncIdentity
from towline_connectors.sinks.records import utc_now
from towline_connectors.sinks.schema import quote
from towline_connectors.sinks.store import Store

TABLE: Final = "towline_activity"
_FIELDS: Final = (
    "id", "kind", "time", "finished_time", "integration", "connector", "object", "trigger", "actor", "outcome",
    "message", "records", "calls", "bytes", "correlation", "detail", "recorded_time", "keep_until",
)  # fmt: skip


class Log:
    """What one attempt records, about itself and about what its plan tells of the time before."""

    def __init__(self, store: Store, integration: str, connector: str, sync: SyncIdentity, now: str) -> None:
        self._store = store
        self._integration = integration
        self._connector = connector
        self._sync = sync
        self._started = now

    def begin(self) -> None:
        """Record what happened before, and let go what has been kept long enough."""
        for entry in self._sync.origin.seen:
            self._append(self._compared(entry) if entry.kind == "Change" else entry)
        self._store.execute(f"DELETE FROM {TABLE} WHERE keep_until < ?", (_ago(timedelta(seconds=2)),))

    def end(self, result: RunResult) -> None:
        """Record the attempt itself."""
        sync, streams = self._sync, result.streams
        totals = {name: sum(getattr(one, name) for one in streams) for name in ("upserted", "deleted", "rejected")}
        self._append(
            Activity(
                id=run_id(sync.uid, sync.attempt),
                kind="Run",
                time=self._started,
                finished=utc_now(),
                object=f"SyncJob/{sync.name}",
                trigger=sync.origin.trigger,
                actor=sync.origin.actor,
                outcome=str(result.reason),
                message=result.message,
                records=sum(stream.read for stream in streams),
                calls=sum(result.http.values()),
                bytes=result.received,
                correlation=f"{sync.uid}/{sync.attempt}"[:128],
                detail={"attempt": sync.attempt, **totals, "streams": [one.name for one in streams]},
            )
        )

    def _append(self, entry: Activity) -> None:
        keep = timedelta(days=self._sync.origin.keep_days)
        values: dict[str, Any] = entry.model_dump(exclude={"finished", "detail"})
        values |= {
            "finished_time": entry.finished,
            "integration": self._integration,
            "connector": self._connector,
            "detail": orjson.dumps(entry.detail).decode(),
            "recorded_time": utc_now(),
            "keep_until": _ago(-keep),
        }
        self._store.execute(
            f"INSERT INTO {TABLE} ({', '.join(map(quote, _FIELDS))}) VALUES ({', '.join('?' * len(_FIELDS))})"
            " ON CONFLICT DO NOTHING",
            tuple(values[name] for name in _FIELDS),
        )

    def _compared(self, entry: Activity) -> Activity:
        """The change with the names of the fields that differ from the last recorded one of that object."""
        digests = entry.detail.get("digests")
        if not isinstance(digests, dict):
            return entry
        rows = self._store.fetch(
            f"SELECT detail FROM {TABLE} WHERE integration = ? AND kind = 'Change' AND object = ?"
            " ORDER BY recorded_time DESC, time DESC LIMIT 1",
            (self._integration, entry.object),
        )
        before = orjson.loads(rows[0][0]).get("digests") if rows and rows[0][0] else None
        if not isinstance(before, dict):
            return entry
        changed = sorted(name for name in {*before, *digests} if before.get(name) != digests.get(name))
        return entry.model_copy(update={"detail": {**entry.detail, "changed": changed}})


def run_id(sync_uid: str, attempt: int) -> str:
    """The id of the record of an attempt, whoever records it."""
    return f"run/{sync_uid}/{attempt}"


def _ago(span: timedelta) -> str:
    return f"{(datetime.now(UTC) - span).isoformat(timespec='milliseconds')[:23]}Z"
