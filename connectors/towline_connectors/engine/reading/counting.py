"""Paging by counting: offsets, page numbers and ranges, also where rows move while they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from towline.api.paging import Paginate
from towline_connectors.engine.caller import Call, Reply
from towline_connectors.engine.errors import SchemaMismatch, Unreachable
from towline_connectors.engine.reading.placing import place
from towline_connectors.engine.values import Mismatch

SAMPLED = 20  # records of a page that are remembered, to notice that it comes again
MAX_STEPS_BACK = 20  # of one stream, while its rows move


@dataclass(slots=True)
class Anchor:
    """For records in ascending order: a page may begin anew at the last cursor value instead of counting on."""

    anchored: Callable[[str], Call] | None
    cursor_of: Callable[[Any], str | None] | None
    at: str
    tail: list[Any] = field(default_factory=list)
    steps_back: int = 0

    def last(self, records: list[Any]) -> str | None:
        """The cursor to begin anew at; None if this page does not come in the cursor's order."""
        if self.cursor_of is None or not records:
            return None
        try:
            found = [self.cursor_of(record) for record in records]
        except Mismatch:
            return None
        cursors = [cursor for cursor in found if cursor is not None]
        if len(cursors) < len(found) or any(a > b for a, b in pairwise(cursors)):
            return None
        return cursors[-1]

    def missed(self, records: list[Any]) -> bool:
        """Whether rows may lie between the page before and this one. Where many rows share one cursor value they are
        counted through, and those that move away meanwhile draw later ones forward; so such pages overlap."""
        return bool(self.tail and records) and not any(record in records for record in self.tail)

    def overlap(self, records: list[Any], ahead: int) -> int:
        """How many rows the next page is to repeat."""
        overlap = ahead // 10
        self.tail = records[-overlap:] if overlap else []
        return overlap


class Counter:
    """Where the next page begins. `total` and `pages` read how many records or pages there are from an answer."""

    def __init__(
        self,
        spec: Paginate,
        size: int,
        total: Callable[[Reply], Any],
        pages: Callable[[Reply], Any],
        anchor: Anchor | None,
    ) -> None:
        self._spec = spec
        self._size = size
        self._total = total
        self.expected: int | None = None
        """How many records the first answer spoke of."""
        self._pages = pages
        self._anchor = anchor
        self._first = (1 if spec.kind == "Page" else 0) if spec.start is None else spec.start
        self._offset = self._first
        self._page = self._first
        self._before: tuple[Any, ...] | None = None

    def position(self, call: Call) -> Call:
        spec = self._spec
        if spec.kind == "Range":
            unit = spec.unit or "items"
            return place(call, {"range": f"{unit}={self._offset}-{self._offset + self._size - 1}"}, "Header")
        found: dict[str, Any] = {}
        if spec.kind == "Offset":
            found[spec.offset or "offset"] = self._offset
            if spec.end:
                found[spec.end] = self._offset + self._size
        else:
            found[spec.param or "page"] = self._page
        if spec.limit:
            found[spec.limit] = self._size
        return place(call, found, spec.place)

    def count_on(self, call: Call, reply: Reply, records: list[Any]) -> Call | None:
        anchor = self._anchor
        if anchor is not None and anchor.missed(records):
            return self._step_back(call, anchor)
        total = _number(self._total(reply))
        self.expected = total if self.expected is None else self.expected
        got = len(records)
        if self._spec.kind == "Page":
            seen = (self._page - self._first + 1) * self._size
        else:
            # Some systems give less than asked for, or leave out rows that the account may not see; to count on
            # by what came misses nothing, and a page of which nothing is left is passed over as a whole.
            by_what_came = got and (total is not None or self._spec.until == "Empty" or self._spec.more is not None)
            seen = self._offset + (got if by_what_came else self._size)
        if self._is_last(reply, total, seen, got):
            return None
        sample = _sample(records)
        if got and sample == self._before:
            if self._spec.until == "Empty":
                return None
            raise SchemaMismatch(f"{call.shown} answers with the same page again; it does not heed the page asked for.")
        self._before = sample
        if self._spec.kind == "Page":
            self._page += 1
            return self.position(call)
        last = anchor.last(records) if anchor is not None else None
        if anchor is not None and last is not None and last != anchor.at and anchor.anchored is not None:
            anchor.at, self._offset = last, self._first
            # A page of rows of one second comes back the same from its new anchor.
            self._before, anchor.tail = None, []
            call = anchor.anchored(last)
        else:
            ahead = seen - self._offset
            self._offset = seen - (anchor.overlap(records, ahead) if anchor is not None and last is not None else 0)
        return self.position(call)

    def _is_last(self, reply: Reply, total: int | None, seen: int, got: int) -> bool:
        if total is not None:
            return seen - self._first >= total if self._spec.kind != "Page" else seen >= total
        pages = _number(self._pages(reply))
        if pages is not None:
            return seen - (self._first if self._spec.kind != "Page" else 0) >= pages * self._size
        if self._spec.until == "Empty" or self._spec.more is not None:
            return not got and self._spec.more is None
        return got < self._size

    def _step_back(self, call: Call, anchor: Anchor) -> Call:
        """The page before again, from where the rows stand now; what is read twice does no harm."""
        anchor.steps_back += 1
        if anchor.steps_back > MAX_STEPS_BACK:
            raise Unreachable(f"{call.shown} changes faster than it can be read; try at a quieter time.")
        self._before = None
        self._offset = max(self._first, self._offset - self._size)
        if self._offset == self._first:
            anchor.tail = []
        return self.position(call)


def _sample(records: list[Any]) -> tuple[Any, ...]:
    """What tells a page from the one before it, without holding on to all of it."""
    return (len(records), *records[:: len(records) // SAMPLED + 1], *records[-1:])


def _number(value: Any) -> int | None:
    try:
        return None if value is None or isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
