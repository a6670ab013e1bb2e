"""One run's session on an SQL destination: the same transactions whichever database it is."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, TypeVar

from towline.contract import RunResult, SyncIdentity
from towline_connectors.entities import Entity, get
from towline_connectors.sinks import activity, correlation, records
from towline_connectors.sinks.base import Batch, DeleteGuard, Replacement, SinkError, StreamState, Written
from towline_connectors.sinks.changes import RAW, Row, latest, sort_rows, storable
from towline_connectors.sinks.claims import Claim, claim
from towline_connectors.sinks.schema import quote
from towline_connectors.sinks.store import ConnectionLost, Stamp, Store, UnstorableText

log = logging.getLogger("towline.run")

T = TypeVar("T")
_KEY = itemgetter(0)  # in the order of the keys, inserts touch an index's pages one after another

MAX_KEY_LENGTH: Final = 600  # characters; PostgreSQL's indexes take 2,704 bytes
RECONNECT_AFTER: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)  # seconds between attempts to connect anew


class SqlSession:
    """See sinks.base.Session."""

    def __init__(self, store: Store, integration: str, held: Claim, now: str) -> None:
        self._store = store
        self._integration = integration
        self._claim = held
        self._now = now
        self._new: dict[str, bool] = {}  # entity: whether its next rows are probably not there yet
        self._assets_changed = False

    _log: activity.Log

    @classmethod
    def open(
        cls, store: Store, integration: str, connector: str, sync: SyncIdentity, pod_uid: str, now: str
    ) -> SqlSession:
        """Make the tables, claim the integration, note the start of the run."""
        store.prepare(now)
        session = cls(store, integration, claim(sync, pod_uid, secrets.token_hex(8)), now)
        session._log = activity.Log(store, integration, connector, sync, now)
        try:
            session._certainly(lambda: session._take(connector))
        except SinkError as error:
            error.in_doubt = True
            raise
        return session

    def states(self) -> dict[str, StreamState]:
        return self._certainly(self._states)

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
        if self._assets_changed:
            self._correlate()

    def _correlate(self) -> None:
        """Link assets anew. What was synced stands without it, so a failure costs the links' freshness only."""
        try:
            correlation.correlate(self._store)
        except SinkError as error:
            log.warning("assets were not correlated: %s", error)

    def close(self) -> None:
        self._store.close()

    def _certainly(self, step: Callable[[], T]) -> T:
        """Run a transaction, again on a new connection when it is not known whether it was committed."""
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

    def _take(self, connector: str) -> None:
        with self._store.transaction():
            records.take_claim(self._store, self._integration, self._claim, self._now)
            records.forget_batches(self._store, self._integration)
            records.start_run(self._store, self._integration, connector, self._claim, self._now)
            self._log.begin()

    def _states(self) -> dict[str, StreamState]:
        with self._store.transaction():
            return records.read_states(self._store, self._integration)

    def _finish(self, result: RunResult) -> None:
        with self._store.transaction():
            records.finish_run(self._store, self._claim, result)
            self._log.end(result)

    def _commit(self, batch: Batch) -> Written:
        store, integration, token = self._store, self._integration, self._claim.token
        stamp = self._stamp(batch.stream)
        written = Written()
        with store.transaction():
            records.check_claim(store, integration, self._claim)
            before = records.committed(store, integration, batch.stream, token, batch.seq)
            if before is not None:
                return before
            for name, rows in batch.rows.items():
                if rows:
                    self._write(get(name), stamp, rows, written)
            for name, keys in batch.tombstones.items():
                if keys:
                    written.deleted += store.delete(get(name), stamp, keys)
            # Two records about one group in one batch: the later one tells what the group is now.
            newest = {(each.entity, each.field, each.key): each for each in batch.replacements}
            for replacement in newest.values():
                written.deleted += self._replace(stamp, replacement)
            if batch.rejected:
                records.keep_rejected(store, integration, batch.stream, stamp.run_id, batch.rejected)
            if batch.state is not None:
                records.save_state(store, integration, batch.stream, stamp.run_id, batch.state)
            records.save_batch(store, integration, batch.stream, token, batch.seq, written)
        return written

    def _stamp(self, stream: str) -> Stamp:
        return Stamp(self._integration, stream, self._claim.sync_uid, self._now)

    def _write(self, entity: Entity, stamp: Stamp, rows: list[Row], written: Written) -> None:
        by_key = latest(rows)
        too_long = [row for key, row in by_key.items() if len(key) > MAX_KEY_LENGTH]
        for row in too_long:
            del by_key[row[0]]
        if too_long:
            why = f"the source key of this {entity.name} is longer than {MAX_KEY_LENGTH} characters"
            rejected = [(row[0][:MAX_KEY_LENGTH], why, row[RAW] or b"") for row in too_long]
            records.keep_rejected(self._store, self._integration, stamp.stream, stamp.run_id, rejected)
            written.rejected += len(too_long)
        if self._expects_new(entity):
            # Looking up each key of a first sync would cost a third of the time.
            inserted = self._store.insert(entity, stamp, sorted(by_key.values(), key=_KEY))
            written.upserted += inserted
            self._note(entity, inserted)
            self._new[entity.name] = inserted == len(by_key)
            if inserted == len(by_key):
                return
        stored = self._store.stored(entity, self._integration, list(by_key))
        self._new[entity.name] = not stored
        changes = sort_rows(by_key, stored, stamp.stream, stamp.run_id)
        if changes.new:
            self._store.insert(entity, stamp, sorted(changes.new, key=_KEY))
        if changes.changed:
            self._store.change(entity, stamp, changes.changed)
        if changes.seen:
            self._store.see(entity, stamp, changes.seen)
        written.upserted += len(changes.new) + len(changes.changed)
        self._note(entity, len(changes.new) + len(changes.changed))

    def _note(self, entity: Entity, written: int) -> None:
        if written and entity.name == "asset":
            self._assets_changed = True

    def _expects_new(self, entity: Entity) -> bool:
        if entity.name not in self._new:
            self._new[entity.name] = not self._store.has_rows(entity, self._integration)
        return self._new[entity.name]

    def _replace(self, stamp: Stamp, replacement: Replacement) -> int:
        entity = get(replacement.entity)
        for field in entity.fields:
            if replacement.field in (field.name, field.column):
                return self._store.delete_others(entity, stamp, field.column, replacement.key, replacement.keys)
        raise SinkError(f"Entity {entity.name} has no field {replacement.field}.", transient=False)

    def _finish_scan(
        self, stream: str, names: list[str], scan_id: str, state: StreamState, limit: int | None
    ) -> Written:
        stamp = self._stamp(stream)
        live = "integration = ? AND stream = ? AND deleted_time IS NULL"
        unseen = f"{live} AND (scan_id IS NULL OR scan_id <> ?)"
        params = (self._integration, stream)
        written = Written()
        with self._store.transaction():
            records.check_claim(self._store, self._integration, self._claim)
            for entity in map(get, names):
                if limit is not None:
                    gone = self._count(entity, unseen, (*params, scan_id))
                    _guard(stream, entity, gone, self._count(entity, live, params), limit)
                written.deleted += self._store.execute(
                    f"UPDATE {quote(entity.table)} SET deleted_time = ?, run_id = ? WHERE {unseen}",
                    (self._now, stamp.run_id, *params, scan_id),
                )
            records.save_state(self._store, self._integration, stream, stamp.run_id, state)
        return written

    def _count(self, entity: Entity, where: str, params: tuple[Any, ...]) -> int:
        rows = self._store.fetch(f"SELECT count(*) FROM {quote(entity.table)} WHERE {where}", params)
        return int(rows[0][0])


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
