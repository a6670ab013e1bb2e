"""The second half of a stream: map pages, gather batches, commit them with their checkpoint.

Runs in one thread of its own, so that mapping and writing go on while the next page is fetched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from towline_connectors.engine.apart import SessionApart
from towline_connectors.engine.compile import CompiledStream
from towline_connectors.engine.errors import EngineError, PolicyViolation, SchemaMismatch
from towline_connectors.engine.mapping import Mapper
from towline_connectors.engine.serving import KEPT_REJECTED
from towline_connectors.engine.sharing import Held, Judged, Sharing, can_share
from towline_connectors.engine.source import Origin, Page
from towline_connectors.engine.window import DEFAULT_MAX_DELETE_PERCENT, Decision, with_anchor
from towline_connectors.sinks.base import Batch, DeleteGuard, Session, StreamState, Written

# Larger batches are hardly faster and cost memory in both processes (docs/decisions/0005).
MAX_RECORDS = 2_000  # of one batch
MAX_BYTES = 2 << 20  # of raw JSON in one batch
STEP = 250  # records mapped between two looks at a batch's size: records of a page may be large
JUDGED_FROM = 20  # a page with fewer records is not judged by the share that does not map


@dataclass(slots=True)
class Tally:
    """What a stream came to so far. The writer's thread writes it; others only read."""

    read: int = 0
    upserted: int = 0
    deleted: int = 0
    rejected: int = 0
    expected: int | None = None  # records that the system announced


class StreamWriter:
    def __init__(
        self,
        stream: CompiledStream,
        decision: Decision,
        origin: Origin,
        state: StreamState,
        session: Session,
        run_id: str,
        notify: Callable[[Tally], None],
        after: int = 0,
    ) -> None:
        """`after` is the number of the stream's last batch in this run, when it is read once more."""
        self._stream = stream
        self._decision = decision
        self._session = session
        self._run_id = run_id
        self._notify = notify
        limit = None if stream.map.cursor_kind == "integer" else decision.window.now
        self.mapper = Mapper(stream.map, limit)
        self._cursor = self.mapper.start()
        self._out = self.mapper.output()
        self._unjudged: list[Judged] = []  # pages of which the other process maps a part
        self._sharing: Sharing | None = None
        if isinstance(session, SessionApart) and can_share(stream.map):
            self._sharing = Sharing(session, stream.name, self.mapper, limit, decision.scan_id)
        self._seq = after
        self._job = dict(state.job) if state.job else None
        self._last_full = state.last_full_time
        self._final = origin.cursor
        self._incomplete = 0  # records that could not be decoded
        self._committed = state.cursor
        self._pending: Callable[[], None] | None = None
        self.incomplete: str | None = None  # why not all was seen, although nothing failed
        reached = decision.job.get("top") if decision.job else None
        self._reached = reached if isinstance(reached, str) else None
        self.tally = Tally()

    def page(self, page: Page) -> None:
        """Take a page: map it, commit when a batch is full or the page carries state.

        Raises SchemaMismatch when most of it does not map, and the session's errors."""
        self._incomplete += page.unreadable
        self.tally.expected = page.expected or self.tally.expected
        if page.incomplete is not None:
            self.incomplete = self.incomplete or page.incomplete
        self.tally.rejected += page.unreadable
        records, raws = page.records, page.raws
        step = min(STEP, MAX_RECORDS)
        judged = Judged(len(records))
        for at in range(0, len(records), step):
            self._map(page, records[at : at + step], raws[at : at + step] if raws is not None else None, judged)
            if self._is_full():
                self._commit()
        self._unjudged.append(judged)
        if page.cursor is not None or page.job is not None:
            self._join()
        if not self._awaits:
            self._judge()
        if page.cursor is not None:
            self._final = page.cursor
        if page.job is not None:
            self._job = {**page.job, "full": self._decision.full, "top": self._reached_top()} if page.job else None
            if self._job is not None:
                self._commit()
                self._settle()

    def flush(self) -> None:
        """Commit what is gathered, with as much of a checkpoint as it is worth."""
        if self._out.read or self._handed:
            self._commit()
        self._settle()

    def starve(self, seconds: float) -> None:
        """The vendor was waited for."""
        if self._sharing is not None:
            self._sharing.starve(seconds)

    def finish(self) -> None:
        """The stream was read to its end: move the checkpoint, delete what a complete scan did not show.

        Raises PolicyViolation when the guard stops the deletion."""
        self.flush()
        full = self._decision.full
        state = StreamState(
            cursor=self._end(),
            job=None,
            last_full_time=self._decision.window.now if full else self._last_full,
            run_id=self._run_id,
            full_scan=None,
        )
        scan = self._decision.scan_id
        if scan is None or self._incomplete or self.tally.rejected or self.incomplete:
            self._write(Batch(self._stream.name, self._next(), state=state))
            self._settle()
            return
        limit = self._stream.plan.max_delete_percent
        if limit is None:
            limit = self._stream.spec.sync.max_delete_percent
        try:
            written = self._session.finish_scan(
                self._stream.name,
                self._stream.entities,
                scan,
                state,
                DEFAULT_MAX_DELETE_PERCENT if limit is None else limit,
            )
        except DeleteGuard as guard:
            raise PolicyViolation(str(guard)) from guard
        self._count(Batch(self._stream.name, 0, state=state), written)

    @property
    def batches(self) -> int:
        """The number of the last batch."""
        return self._seq

    @property
    def checkpoint(self) -> str | None:
        """The cursor as committed."""
        return self._committed

    @property
    def kept_deletions(self) -> bool:
        """Whether a complete scan deleted nothing because some records could not be read or mapped."""
        return self._decision.scan_id is not None and bool(self._incomplete or self.tally.rejected)

    @property
    def _handed(self) -> int:
        """Records of this batch that the other process was given."""
        return self._sharing.read if self._sharing is not None else 0

    @property
    def _awaits(self) -> bool:
        """Whether the other process has records that it has not told about."""
        return self._sharing is not None and self._sharing.awaits

    def _map(self, page: Page, records: list[Any], raws: list[bytes] | None, judged: Judged) -> None:
        """Add some of a page's records to the batch."""
        out, sharing = self._out, self._sharing
        # The other process is given the first records of a batch only: what is mapped here comes after them.
        if sharing is not None and raws is None and not out.read and sharing.hand(page, records, judged):
            return
        before = len(out.rejected)
        self.mapper.map(self._read(page, records), raws, self._decision.scan_id, out)
        rejected = out.rejected[before:]
        self.tally.rejected += len(rejected)
        judged.add(len(rejected), rejected[0][1] if rejected else "")

    def _read(self, page: Page, records: list[Any]) -> list[Any]:
        try:
            return page.read(records)
        except EngineError:
            self._lose()
            raise

    def _lose(self) -> None:
        """Records that could not be read count as one."""
        self._incomplete += 1
        self.tally.rejected += 1

    def _join(self) -> None:
        """Know all of the batch: wait for what the other process maps of it, and move the cursor."""
        if self._awaits and self._sharing is not None:
            self._settle()
            try:
                rejected, cursors = self._sharing.gather(self._out)
            except EngineError:
                self._lose()
                raise
            self.tally.rejected += rejected
            for cursor in cursors:
                self._cursor.join(cursor)
        self._cursor.join(self.mapper.cursor)
        self.mapper.cursor = self.mapper.start()

    def _judge(self) -> None:
        """Raises SchemaMismatch when most of a page does not map."""
        pages, self._unjudged = self._unjudged, []
        for page in pages:
            if page.records >= JUDGED_FROM and page.failed * 2 > page.records:
                self.flush()
                raise SchemaMismatch(
                    f"{page.failed} of {page.records} records of a page of stream {self._stream.name} do not map; the"
                    f" first: {page.why}. The system's answers may have changed; the connector has to follow."
                )

    def _is_full(self) -> bool:
        size = self._out.size + (self._sharing.size if self._sharing is not None else 0)
        return self._out.read + self._handed >= MAX_RECORDS or size >= MAX_BYTES

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _commit(self) -> None:
        self._join()
        read = self._out.read + self._handed
        held = self._sharing.held(self._out) if self._sharing is not None else None
        out, self._out = self._out, self.mapper.output()
        rows = {name: list(by_key.values()) for name, by_key in out.rows.items() if by_key}
        dead = {name: [key for key in keys if key not in out.rows[name]] for name, keys in out.tombstones.items()}
        state = StreamState(
            cursor=self._passing(),
            job=self._job,
            last_full_time=self._last_full,
            run_id=self._run_id,
            full_scan=self._decision.scan_id,
        )
        self._write(
            Batch(
                stream=self._stream.name,
                seq=self._next(),
                rows=rows,
                tombstones=dead,
                replacements=out.replacements,
                rejected=out.rejected[:KEPT_REJECTED],
                state=state,
                read=read,
            ),
            held,
        )
        self._judge()

    def _write(self, batch: Batch, held: Held | None = None) -> None:
        """Commit; where the destination has a process of its own, without waiting for the end."""
        self._settle()
        if isinstance(self._session, SessionApart):
            self._pending = partial(self._await, batch, self._session.begin(batch, held))
        else:
            self._count(batch, self._session.commit(batch))

    def _settle(self) -> None:
        """Wait for the commit that is under way, if any."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        pending()
        if self._sharing is not None and isinstance(self._session, SessionApart):
            self._sharing.pace_by(self._session.waited, self._session.idle)

    def _await(self, batch: Batch, end: Callable[[], Written]) -> None:
        self._count(batch, end())

    def _count(self, batch: Batch, written: Written) -> None:
        if batch.state is not None:
            self._committed = batch.state.cursor
        self.tally.read += batch.read
        self.tally.upserted += written.upserted
        self.tally.deleted += written.deleted
        self.tally.rejected += written.rejected
        self._notify(self.tally)

    def _top(self) -> str | None:
        """The highest cursor of the records, canonical text."""
        if self._stream.map.cursor is None:
            return None
        top = self._cursor.top
        if self._stream.map.cursor_kind == "integer":
            return None if top < 0 else str(top)
        return top or None

    def _reached_top(self) -> str | None:
        """The highest cursor of this run and of the one that it goes on with."""
        return self._higher(self._top(), self._reached)

    def _higher(self, one: str | None, other: str | None) -> str | None:
        if one is None or other is None:
            return one or other
        if self._stream.map.cursor_kind == "integer" or one.isdigit():
            return one if int(one) >= int(other) else other
        return max(one, other)

    def _passing(self) -> str | None:
        """The checkpoint while the stream is being read: it moves only where records come in its order."""
        decision = self._decision
        if not self._stream.map.ascending or not self._cursor.ordered:
            return with_anchor(decision.previous, decision.anchor)
        top = self._top()
        if decision.full and decision.scan_id is not None:
            return with_anchor(top or decision.previous, decision.anchor)  # progress of the scan
        return with_anchor(self._higher(top, decision.previous), decision.anchor)

    def _end(self) -> str | None:
        """The checkpoint after the last page."""
        decision = self._decision
        if self._final is not None:
            return with_anchor(self._final, decision.anchor)
        return with_anchor(self._higher(self._reached_top(), decision.previous), decision.anchor)
