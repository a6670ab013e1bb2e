"""Mapping on two processors: the process that writes also maps the first records of a batch, when it has time.

Both sides pass over what was written of a key already, so each has to know what the other wrote last. The first
records are mapped there after all earlier batches were committed, which tell what was written here. Here they are
unknown while the rest of the batch is mapped; what was passed over meanwhile is looked at when they are back.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import orjson

from towline_connectors.engine.answers import json
from towline_connectors.engine.answers.cut import joined
from towline_connectors.engine.errors import EngineError
from towline_connectors.engine.mapping import Cursor, Mapper, Output, Row
from towline_connectors.engine.source import Page
from towline_connectors.engine.stream_map import StreamMap, is_remembered

Known = list[dict[str, int | None]]  # for each emit, key: hash of what was written last; None when it is not known

Begin = tuple[Any, str | None]  # the cursor's limit and the scan of a stream that is read anew

MAX_PARTS = 7  # of the eight that a batch has
# What JSON would change on the way is not handed over: bytes and dates stay here.
_EXACT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS


class Mapped(NamedTuple):
    """What records became that the other process has mapped; it keeps the rows until they are committed."""

    size: int  # bytes of raw JSON
    rejected: int
    why: str  # the first rejected record's reason
    first: Any
    top: Any
    ordered: bool
    fresh: Known  # what it wrote


class Held(NamedTuple):
    """What a commit tells the process that writes about the rows that it holds."""

    drops: list[list[str]]  # for each emit, keys whose row is not the last one
    known: Known  # what was written here


def can_share(stream: StreamMap) -> bool:
    """Tombstones need one place that knows of all rows, and a list in each record may have any number of keys."""
    names = {emit.entity.name for emit in stream.emits}
    listed = any(is_remembered(emit) and emit.for_each is not None for emit in stream.emits)
    return stream.tombstone is None and not listed and len(names) == len(stream.emits)


@dataclass(slots=True)
class Judged:
    """A page, and how much of it does not map."""

    records: int
    failed: int = 0
    why: str = ""

    def add(self, failed: int, why: str) -> None:
        self.why = self.why or why
        self.failed += failed


@dataclass(slots=True)
class Pace:
    """How many parts of a batch the other process maps: as many as make both end together.

    A part moves about a twelfth of a batch's work from here to there, which the thresholds leave room for."""

    parts: int = 0

    def learn(self, seconds: float, starved: float, waited: float, idle: float) -> None:
        """One batch took `seconds`; of them the vendor was waited for, the other process was, and that was idle."""
        if starved > seconds / 3:
            self.parts -= 1  # the vendor sets the pace
        elif waited > idle + seconds / 20:
            self.parts -= 1
        elif idle > waited + seconds / 6:
            self.parts += 1
        self.parts = min(max(self.parts, 0), MAX_PARTS)


class Wire(Protocol):
    """The process that writes, as this needs it: `apart.SessionApart`."""

    def map(self, stream: str, begin: Begin | None, text: bytes, about: tuple[str, str]) -> None:
        """See Helper.map. Does not wait."""

    def mapped(self) -> Mapped:
        """Wait for the oldest `map` that was not answered, once all commits before it were."""


@dataclass(slots=True)
class Sharing:
    """This side: hands the first records of each batch over and puts together what comes back."""

    wire: Wire
    stream: str
    mapper: Mapper
    limit: Any  # of the cursor
    scan_id: str | None
    pace: Pace = field(default_factory=Pace)
    read: int = 0  # records of this batch that were handed over
    size: int = 0  # bytes of their JSON
    _awaited: list[tuple[Judged, int]] = field(default_factory=list)  # and how many records
    _drops: list[list[str]] = field(default_factory=list)
    _parts: int = 0  # of this batch that were handed over
    _begun: bool = False
    _starved: float = 0.0  # seconds, in all
    _before: tuple[float, float, float, float] | None = None  # the measures of pace when the last batch ended

    @property
    def awaits(self) -> bool:
        return bool(self._awaited)

    def hand(self, page: Page, records: list[Any], judged: Judged) -> bool:
        """Let the other process map these, which come before all that is mapped here of this batch."""
        if self._parts >= self.pace.parts:
            return False
        try:
            text = joined(records) if page.unread else orjson.dumps(records, option=_EXACT)
        except orjson.JSONEncodeError:
            return False
        if not self._begun:
            self.mapper.watch()
        begin = None if self._begun else (self.limit, self.scan_id)
        self.wire.map(self.stream, begin, text, page.unread or ("", ""))
        self._begun = True
        self._awaited.append((judged, len(records)))
        self._parts += 1
        self.read += len(records)
        self.size += len(text)
        return True

    def gather(self, out: Output) -> tuple[int, list[Cursor]]:
        """Wait for what was handed over. `out` was mapped here after it. How many were rejected, and the cursors.

        Raises SchemaMismatch or Unreachable when some could not be read; those are not among the batch's."""
        rejected, cursors = 0, []
        awaited, self._awaited = self._awaited, []
        failure: EngineError | None = None
        for judged, records in awaited:
            try:
                mapped: Mapped = self.wire.mapped()
            except EngineError as error:
                failure = failure or error
                self.read -= records
                continue
            rejected += mapped.rejected
            judged.add(mapped.rejected, mapped.why)
            cursor = self.mapper.start()
            cursor.first, cursor.top, cursor.ordered = mapped.first, mapped.top, mapped.ordered
            cursors.append(cursor)
            self._learn(mapped.fresh, out)
        if failure is not None:
            raise failure
        return rejected, cursors

    def _learn(self, fresh: Known, out: Output) -> None:
        self._drops = self._drops or [[] for _ in fresh]
        for n, emit in enumerate(self.mapper.stream.emits):
            seen, skipped, own = self.mapper.seen[n], self.mapper.skipped[n], out.rows[emit.entity.name]
            for key, mark in fresh[n].items():
                if key in own or mark is None:
                    continue
                if key in skipped and seen.get(key) != mark:
                    self._drops[n].append(key)  # passed over here since: what was written before is right again
                else:
                    seen[key] = mark

    def held(self, out: Output) -> Held | None:
        """What the commit of `out` has to tell; the next batch begins."""
        for skipped in self.mapper.skipped:
            skipped.clear()
        drops, self._drops = self._drops, []
        self._parts = self.read = self.size = 0
        if not self._begun:
            return None
        known: Known = []
        for n, emit in enumerate(self.mapper.stream.emits):
            keys = [*out.rows[emit.entity.name], *(drops[n] if drops else ())] if is_remembered(emit) else ()
            known.append({key: self.mapper.seen[n].get(key) for key in keys})
        return Held(drops, known)

    def starve(self, seconds: float) -> None:
        """The vendor was waited for."""
        self._starved += seconds

    def pace_by(self, waited: float, idle: float) -> None:
        """A batch has ended; this side has waited so many seconds in all, and the other was idle so many."""
        now = (perf_counter(), self._starved, waited, idle)
        if self._before is not None:
            self.pace.learn(*(b - a for a, b in zip(self._before, now, strict=True)))
        self._before = now


class Helper:
    """The other side: maps what it is given and keeps the rows until a commit takes them."""

    def __init__(self, streams: dict[str, StreamMap]) -> None:
        self._streams = streams
        self._mapper: Mapper | None = None
        self._scan_id: str | None = None
        self._held: list[Output] = []

    def map(self, stream: str, begin: Begin | None, text: bytes, about: tuple[str, str]) -> Mapped:
        """Map the records in `text`, which came from host and path `about`. With `begin` what is held of another
        stream is let go. Raises SchemaMismatch, Unreachable when they cannot be read."""
        if begin is not None:
            limit, self._scan_id = begin
            self._mapper, self._held = Mapper(self._streams[stream], limit), []
        mapper = self._mapper
        assert mapper is not None
        records = json.loads(text, *about)
        out, mapper.cursor = mapper.output(), mapper.start()
        mapper.map(records, None, self._scan_id, out)
        self._held.append(out)
        fresh: Known = []
        for n, emit in enumerate(mapper.stream.emits):
            keys = out.rows[emit.entity.name] if is_remembered(emit) else ()
            fresh.append({key: mapper.seen[n].get(key) for key in keys})
        cursor, why = mapper.cursor, out.rejected[0][1] if out.rejected else ""
        return Mapped(out.size, len(out.rejected), why, cursor.first, cursor.top, cursor.ordered, fresh)

    def take(self, held: Held) -> list[Output]:
        """All that is held, the rows of a batch that come before those that the commit brings."""
        outputs, self._held = self._held, []
        mapper = self._mapper
        assert mapper is not None
        for n, emit in enumerate(mapper.stream.emits):
            for key in held.drops[n] if held.drops else ():
                for out in outputs:
                    out.rows[emit.entity.name].pop(key, None)
            for key, mark in held.known[n].items():
                if mark is None:
                    mapper.seen[n].pop(key, None)
                else:
                    mapper.seen[n][key] = mark
        return outputs


def before(outputs: list[Output], rows: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """The rows of a batch, those in `outputs` first; the last of a key counts."""
    names = dict.fromkeys([name for out in outputs for name in out.rows] + list(rows))
    merged: dict[str, list[Row]] = {}
    for name in names:
        by_key: dict[str, Row] = {}
        for out in outputs:
            by_key.update(out.rows.get(name, {}))
        own = rows.get(name, [])
        if by_key:
            by_key.update((row[0], row) for row in own)
        merged[name] = list(by_key.values()) if by_key else own
    return {name: found for name, found in merged.items() if found}
