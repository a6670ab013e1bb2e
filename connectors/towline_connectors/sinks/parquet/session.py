"""A run's session on a lake: it works on a SQLite file and publishes what changed, rows and checkpoint at once.

What a killed run had not published yet is lost together with its checkpoint, so nothing is doubled or left out.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from towline.contract import RunResult, SyncIdentity
from towline_connectors.sinks.base import Batch, Session, SinkError, StreamState, Superseded, Written
from towline_connectors.sinks.claims import Claim, check_held
from towline_connectors.sinks.parquet import log, parts
from towline_connectors.sinks.parquet.objects import Objects
from towline_connectors.sinks.parquet.working import REJECTED, WorkingStore, lake_tables
from towline_connectors.sinks.records import utc_now
from towline_connectors.sinks.schema import Table
from towline_connectors.sinks.session import SqlSession

PUBLISH_ROWS: Final = 50_000  # rows that wait at most
PUBLISH_SECONDS: Final = 10.0  # that they wait at most, while batches come
MOST_PARTS: Final = 8  # of one table; more are made one at the end of a run
STALE_SECONDS: Final = 3_600  # readers keep finding the parts that were replaced for so long
_OPENINGS: Final = 5  # attempts to take the claim while others write


class Lost(Exception):  # noqa: N818
    """Another writer's head came first."""


def open_session(
    objects: Objects, integration: str, connector: str, sync: SyncIdentity, pod_uid: str, now: str
) -> Session:
    """Claim the integration; again from the newest head while other writers come first. Raises SinkError."""
    for _ in range(_OPENINGS):
        with suppress(Lost):
            return _open(objects, integration, connector, sync, pod_uid, now)
    raise SinkError(f"Others keep taking over {integration} in the lake; try again later.")


def _open(
    objects: Objects, integration: str, connector: str, sync: SyncIdentity, pod_uid: str, now: str
) -> ParquetSession:
    scratch = tempfile.TemporaryDirectory(prefix="towline-lake-", ignore_cleanup_errors=True)
    folder = Path(scratch.name)
    try:
        store = WorkingStore(folder / "work.db")
        try:
            store.prepare(now)
            head = log.newest(objects, integration)
            store.fill(objects, head, folder / "part")
            store.watch()
            session = ParquetSession.open(store, integration, connector, sync, pod_uid, now)
            assert isinstance(session, ParquetSession)
            session.begin(objects, head, scratch)
        except BaseException:
            store.close()
            raise
    except BaseException:
        scratch.cleanup()
        raise
    return session


class ParquetSession(SqlSession):
    """See sinks.base.Session. `commit` may leave rows waiting until the next one; each call of another kind, and
    each commit that changes an export job, publishes at once."""

    _objects: Objects
    _head: log.Head
    _scratch: tempfile.TemporaryDirectory[str]

    def begin(self, objects: Objects, head: log.Head, scratch: tempfile.TemporaryDirectory[str]) -> None:
        """Publish the claim that was taken. Raises Lost when another writer was faster."""
        self._objects, self._head, self._scratch = objects, head, scratch
        self._jobs: dict[str, object] = {}
        self._published = time.monotonic()
        self._publish(first=True)
        self._sweep()

    def commit(self, batch: Batch) -> Written:
        written = super().commit(batch)
        job = batch.state.job if batch.state is not None else None
        moved = batch.state is not None and self._jobs.get(batch.stream) != job
        waited = time.monotonic() - self._published >= PUBLISH_SECONDS
        if moved or waited or sum(self._working.touched().values()) >= PUBLISH_ROWS:
            self._jobs[batch.stream] = job
            self._publish()
        return written

    def finish_scan(
        self, stream: str, entities: list[str], scan_id: str, state: StreamState, max_delete_percent: int | None
    ) -> Written:
        written = super().finish_scan(stream, entities, scan_id, state, max_delete_percent)
        self._publish()
        return written

    def finish(self, result: RunResult) -> None:
        super().finish(result)
        crowded = {name for name in lake_tables() if self._parts_of(name) >= MOST_PARTS}
        self._publish(whole=crowded)

    def _correlate(self) -> None:
        """Other integrations' assets are not at hand: whoever reads the lake links them."""

    def close(self) -> None:
        try:
            if self._working.touched():
                self._publish()
        finally:
            super().close()
            self._objects.close()
            self._scratch.cleanup()

    @property
    def _working(self) -> WorkingStore:
        assert isinstance(self._store, WorkingStore)
        return self._store

    def _parts_of(self, table: str) -> int:
        return sum(part.table == table for part in self._head.parts)

    def _publish(self, *, whole: set[str] | frozenset[str] = frozenset(), first: bool = False) -> None:
        """Parts first, then the head that makes them count. Tables in `whole` are written anew."""
        number, now = self._head.number + 1, utc_now()
        made: list[log.Part] = []
        gone: set[str] = set()
        try:
            for name, table in lake_tables().items():
                entire = name in whole or name == REJECTED
                if name in whole or self._working.touched().get(name):
                    made += self._put_part(table, number, entire=entire)
                    gone |= {part.path for part in self._head.parts if entire and part.table == name}
            head = log.Head(
                number=number,
                writer=secrets.token_hex(8),
                time=now,
                parts=[*(part for part in self._head.parts if part.path not in gone), *made],
                stale=[*self._head.stale, *((path, now) for path in sorted(gone))],
                tables=self._working.own_rows(),
            )
            expired = [path for path, since in head.stale if _seconds(since, now) > STALE_SECONDS]
            head.stale = [(path, since) for path, since in head.stale if path not in expired]
            counts = log.commit(self._objects, self._integration, head)
        except BaseException:
            self._discard(made)
            raise
        if not counts:
            self._discard(made)
            self._refuse(first)
        self._head = head
        self._published = time.monotonic()
        self._working.settled()
        for path in expired:
            self._objects.delete(path)

    def _put_part(self, table: Table, number: int, *, entire: bool) -> list[log.Part]:
        file = Path(self._scratch.name) / "part"
        rows = parts.write(table, self._working.chunks(table, whole=entire), number, file)
        if not rows:
            return []
        path = log.part_path(self._integration, table.name, number, secrets.token_hex(4))
        self._objects.upload(path, file)
        return [log.Part(table.name, path, rows)]

    def _discard(self, made: list[log.Part]) -> None:
        with suppress(SinkError):
            for part in made:
                self._objects.delete(part.path)

    def _refuse(self, first: bool) -> None:
        """Another writer's head came first: tell by whom."""
        if first:
            raise Lost
        rows = log.newest(self._objects, self._integration).tables.get("towline_claims", [])
        names = ("token", "sync_uid", "sync_name", "created", "attempt", "pod_uid")
        held = Claim(*(rows[0][name] for name in names)) if rows else None
        check_held(self._claim, held, self._integration)
        raise Superseded(f"{self._claim.sync_name} stops writing to {self._integration}: another process wrote to it.")

    def _sweep(self) -> None:
        """Remove the parts that a killed run left without a head."""
        known = {part.path for part in self._head.parts} | {path for path, _ in self._head.stale}
        for path in list(self._objects.list(f"data/{log.place(self._integration)}/")):
            if path not in known:
                self._objects.delete(path)


def _seconds(since: str, now: str) -> float:
    return (datetime.fromisoformat(now) - datetime.fromisoformat(since)).total_seconds()
