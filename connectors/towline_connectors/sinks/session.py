"""One run's session on an SQL destination: the same transactions whichever database it is."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import orjson

from towline.contract import RunResult, SyncIdentity
from towline_connectors import entities
from towline_connectors.entities.model import Entity
from towline_connectors.sinks.base import Batch, DeleteGuard, Replacement, SinkError, StreamState, Written
from towline_connectors.sinks.changes import RAW, Row, latest, sort_rows, storable
from towline_connectors.sinks.claims import Claim, check_held, check_takeover, claim
from towline_connectors.sinks.schema import quote
from towline_connectors.sinks.store import ConnectionLost, Stamp, Store, UnstorableText

T = TypeVar("T")

KEPT_REJECTED: Final = 1000  # newest rejected records that stay, for each stream of an integration
KEPT_RUNS: Final = 1000  # newest run records that stay, for each integration
REJECTED_RAW_BYTES: Final = 16384
MAX_KEY_LENGTH: Final = 600  # characters; PostgreSQL's indexes take 2,704 bytes
RECONNECT_AFTER: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between attempts to connect anew


def utc_now() -> str:
    """Now as ISO 8601 in UTC, with three digits of fraction as the engine writes times."""
    return f"{datetime.now(UTC).isoformat(timespec='milliseconds')[:23]}Z"


class SqlSession:
    """See sinks.base.Session."""

    def __init__(self, store: Store, integration: str, held: Claim, now: str) -> None:
        self._store = store
        self._integration = integration
        self._claim = held
        self._now = now

    @classmethod
    def open(
        cls, store: Store, integration: str, connector: str, sync: SyncIdentity, pod_uid: str, now: str
    ) -> SqlSession:
        """Make the tables, claim the integration, note the start of the run."""
        store.prepare(now)
        mine = claim(sync, pod_uid, secrets.token_hex(8))
        session = cls(store, integration, mine, now)
        session._certainly(lambda: session._take(connector))
        return session

    def states(self) -> dict[str, StreamState]:
        rows = self._certainly(
            lambda: self._read(
                "SELECT stream, cursor, job, last_full_time, run_id, full_scan FROM towline_checkpoints"
                " WHERE integration = ?",
                (self._integration,),
            )
        )
        return {
            stream: StreamState(cursor, orjson.loads(job) if job else None, last_full_time, run_id, full_scan)
            for stream, cursor, job, last_full_time, run_id, full_scan in rows
        }

    def commit(self, batch: Batch) -> Written:
        try:
            return self._certainly(lambda: self._commit(batch))
        except UnstorableText:
            mended = storable(batch)
            return self._certainly(lambda: self._commit(mended))

    def finish_scan(
        self,
        stream: str,
        entities: list[str],
        scan_id: str,
        state: StreamState,
        max_delete_percent: int | None,
    ) -> Written:
        return self._certainly(lambda: self._finish_scan(stream, entities, scan_id, state, max_delete_percent))

    def finish(self, result: RunResult) -> None:
        self._certainly(lambda: self._finish(result))

    def close(self) -> None:
        self._store.close()

    # -- transactions; each may be repeated when it is not known whether it was committed

    def _certainly(self, step: Callable[[], T]) -> T:
        for pause in RECONNECT_AFTER:
            try:
                return step()
            except ConnectionLost:
                self._reconnect(pause)
        return step()

    def _reconnect(self, pause: float) -> None:
        time.sleep(pause)
        try:
            self._store.reconnect()
        except SinkError as error:
            if not error.transient:
                raise

    def _read(self, sql: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._store.transaction():
            return self._store.fetch(sql, params)

    def _take(self, connector: str) -> None:
        mine, store = self._claim, self._store
        with store.transaction():
            row = store.lock_claim(self._integration)
            check_takeover(mine, Claim(*row) if row else None, self._integration)
            store.execute(
                "INSERT INTO towline_claims"
                " (integration, token, sync_uid, sync_name, created, attempt, pod_uid, claimed_time)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (integration) DO UPDATE SET token = excluded.token,"
                " sync_uid = excluded.sync_uid, sync_name = excluded.sync_name, created = excluded.created,"
                " attempt = excluded.attempt, pod_uid = excluded.pod_uid, claimed_time = excluded.claimed_time",
                (
                    self._integration, mine.token, mine.sync_uid, mine.sync_name, mine.created, mine.attempt,
                    mine.pod_uid, self._now,
                ),
            )  # fmt: skip
            store.execute("DELETE FROM towline_batches WHERE integration = ?", (self._integration,))
            store.execute(
                "INSERT INTO towline_runs (sync_uid, attempt, pod_uid, sync_name, integration, connector, started_time)"
                " VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sync_uid, attempt, pod_uid)"
                " DO UPDATE SET started_time = excluded.started_time",
                (
                    mine.sync_uid, mine.attempt, mine.pod_uid, mine.sync_name, self._integration, connector, self._now,
                ),
            )  # fmt: skip
            store.execute(
                "DELETE FROM towline_runs WHERE integration = ? AND started_time < (SELECT started_time"
                " FROM towline_runs WHERE integration = ? ORDER BY started_time DESC LIMIT 1 OFFSET ?)",
                (self._integration, self._integration, KEPT_RUNS - 1),
            )

    def _fence(self) -> None:
        row = self._store.lock_claim(self._integration)
        check_held(self._claim, Claim(*row) if row else None, self._integration)

    def _commit(self, batch: Batch) -> Written:
        store = self._store
        stamp = Stamp(self._integration, batch.stream, self._claim.sync_uid, self._now)
        written = Written()
        with store.transaction():
            self._fence()
            done = store.fetch(
                "SELECT upserted, deleted, rejected FROM towline_batches"
                " WHERE integration = ? AND stream = ? AND token = ? AND seq >= ?",
                (self._integration, batch.stream, self._claim.token, batch.seq),
            )
            if done:
                return Written(*done[0])
            for name, rows in batch.rows.items():
                if rows:
                    self._write(entities.get(name), stamp, rows, written)
            for name, keys in batch.tombstones.items():
                if keys:
                    written.deleted += store.delete(entities.get(name), stamp, keys)
            for replacement in batch.replacements:
                written.deleted += self._replace(stamp, replacement)
            if batch.rejected:
                self._reject(stamp, batch.rejected)
            if batch.state is not None:
                self._save(batch.stream, batch.state)
            store.execute(
                "INSERT INTO towline_batches (integration, stream, token, seq, upserted, deleted, rejected,"
                " committed_time) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (integration, stream) DO UPDATE SET token = excluded.token,"
                " seq = excluded.seq, upserted = excluded.upserted, deleted = excluded.deleted,"
                " rejected = excluded.rejected, committed_time = excluded.committed_time",
                (
                    self._integration, batch.stream, self._claim.token, batch.seq, written.upserted, written.deleted,
                    written.rejected, utc_now(),
                ),
            )  # fmt: skip
        return written

    def _write(self, entity: Entity, stamp: Stamp, rows: list[Row], written: Written) -> None:
        by_key = latest(rows)
        too_long = [row for key, row in by_key.items() if len(key) > MAX_KEY_LENGTH]
        for row in too_long:
            del by_key[row[0]]
        if too_long:
            why = f"the source key of this {entity.name} is longer than {MAX_KEY_LENGTH} characters"
            self._reject(stamp, [(row[0][:MAX_KEY_LENGTH], why, row[RAW] or b"") for row in too_long])
            written.rejected += len(too_long)
        stored = self._store.stored(entity, self._integration, list(by_key))
        changes = sort_rows(by_key, stored, stamp.stream, stamp.run_id)
        if changes.new:
            self._store.insert(entity, stamp, changes.new)
        if changes.changed:
            self._store.change(entity, stamp, changes.changed)
        if changes.seen:
            self._store.see(entity, stamp, changes.seen)
        written.upserted += len(changes.new) + len(changes.changed)

    def _replace(self, stamp: Stamp, replacement: Replacement) -> int:
        entity = entities.get(replacement.entity)
        column = next(
            (field.column for field in entity.fields if replacement.field in (field.name, field.column)), None
        )
        if column is None:
            raise SinkError(f"Entity {entity.name} has no field {replacement.field}.", transient=False)
        return self._store.delete_others(entity, stamp, column, replacement.key, replacement.keys)

    def _reject(self, stamp: Stamp, rejected: list[tuple[str | None, str, bytes]]) -> None:
        for key, reason, raw in rejected[-KEPT_REJECTED:]:
            text = raw[:REJECTED_RAW_BYTES].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
            self._store.execute(
                "INSERT INTO towline_rejected (integration, stream, source_key, reason, raw, run_id, time)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (self._integration, stamp.stream, key, reason, text, stamp.run_id, utc_now()),
            )
        self._store.execute(
            "DELETE FROM towline_rejected WHERE integration = ? AND stream = ? AND id <= (SELECT id"
            " FROM towline_rejected WHERE integration = ? AND stream = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
            (self._integration, stamp.stream, self._integration, stamp.stream, KEPT_REJECTED),
        )

    def _save(self, stream: str, state: StreamState) -> None:
        self._store.execute(
            "INSERT INTO towline_checkpoints"
            " (integration, stream, cursor, job, last_full_time, run_id, full_scan, updated_time)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (integration, stream) DO UPDATE SET"
            " cursor = excluded.cursor, job = excluded.job, last_full_time = excluded.last_full_time,"
            " run_id = excluded.run_id, full_scan = excluded.full_scan, updated_time = excluded.updated_time",
            (
                self._integration, stream, state.cursor, orjson.dumps(state.job).decode() if state.job else None,
                state.last_full_time, state.run_id or self._claim.sync_uid, state.full_scan, utc_now(),
            ),
        )  # fmt: skip

    def _finish_scan(
        self, stream: str, names: list[str], scan_id: str, state: StreamState, limit: int | None
    ) -> Written:
        stamp = Stamp(self._integration, stream, self._claim.sync_uid, self._now)
        written = Written()
        with self._store.transaction():
            self._fence()
            for name in names:
                entity = entities.get(name)
                where = "integration = ? AND stream = ? AND deleted_time IS NULL"
                unseen = f"{where} AND (scan_id IS NULL OR scan_id <> ?)"
                params = (self._integration, stream)
                if limit is not None:
                    live = self._count(entity, where, params)
                    gone = self._count(entity, unseen, (*params, scan_id))
                    _guard(stream, entity, gone, live, limit)
                written.deleted += self._store.execute(
                    f"UPDATE {quote(entity.table)} SET deleted_time = ?, run_id = ? WHERE {unseen}",
                    (self._now, stamp.run_id, *params, scan_id),
                )
            self._save(stream, state)
        return written

    def _count(self, entity: Entity, where: str, params: tuple[Any, ...]) -> int:
        rows = self._store.fetch(f"SELECT count(*) FROM {quote(entity.table)} WHERE {where}", params)
        return int(rows[0][0])

    def _finish(self, result: RunResult) -> None:
        streams = result.streams
        with self._store.transaction():
            self._store.execute(
                "UPDATE towline_runs SET finished_time = ?, reason = ?, message = ?, read = ?, upserted = ?,"
                " deleted = ?, rejected = ?, streams = ?, http = ? WHERE sync_uid = ? AND attempt = ? AND pod_uid = ?",
                (
                    utc_now(), str(result.reason), result.message, sum(s.read for s in streams),
                    sum(s.upserted for s in streams), sum(s.deleted for s in streams),
                    sum(s.rejected for s in streams),
                    orjson.dumps([s.model_dump(mode="json") for s in streams]).decode(),
                    orjson.dumps(result.http).decode(),
                    self._claim.sync_uid, self._claim.attempt, self._claim.pod_uid,
                ),
            )  # fmt: skip


def _guard(stream: str, entity: Entity, gone: int, live: int, limit: int) -> None:
    if gone * 100 <= limit * live:
        return
    percent = 100 * gone / live
    raise DeleteGuard(
        f"Stream {stream} no longer shows {gone} of {live} {entity.table} ({percent:.1f} %), more than the"
        f" {limit} % that maxDeletePercent allows; nothing was deleted. If the account still sees everything and"
        f" so many are really gone, raise maxDeletePercent of this stream and sync again.",
        percent=percent,
        limit=limit,
    )
