"""From one page's answer to the request of the next."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any
from urllib.parse import urljoin

from towline.api.paging import Paginate
from towline_connectors.engine import expressions
from towline_connectors.engine.caller import Call, Reply, with_query
from towline_connectors.engine.errors import SchemaMismatch, Unreachable
from towline_connectors.engine.http import origin
from towline_connectors.engine.values import Mismatch

DEFAULT_SIZE = 100
MAX_STEPS_BACK = 20  # of one stream, while its rows move
_LINK = re.compile(r'<([^>]*)>\s*((?:;\s*[\w*]+\s*=\s*(?:"[^"]*"|[^",;]+)\s*)*)')
_REL = re.compile(r'rel\s*=\s*"?([^";]+)"?')


@dataclass(slots=True)
class Turn:
    """A page that was read: its request and its answer."""

    call: Call
    reply: Reply
    records: list[Any]


class Pager:
    """Walks through pages. `first` prepares the first request, `next` the following or None at the end.

    `anchored` makes the first request anew for another window start, for Offset with reanchor; `cursor_of` gives
    a record's cursor in that form."""

    def __init__(
        self,
        spec: Paginate | None,
        anchored: Callable[[str], Call] | None = None,
        cursor_of: Callable[[Any], str | None] | None = None,
        start: str = "",
    ) -> None:
        self._spec = spec or Paginate(kind="None")
        self._anchored = anchored
        self._cursor_of = cursor_of
        self._anchor = start
        self._size = self._spec.size or DEFAULT_SIZE
        self._offset = 0
        self._page = 1 if self._spec.start is None else self._spec.start
        self._token: Any = None
        self._before: list[Any] | None = None
        self._tail: list[Any] = []
        self._steps_back = 0
        self._from = expressions.compile_expression(self._spec.from_) if self._spec.from_ else None
        total = self._spec.total
        self._total_header = total[7:].strip().lower() if total and total.lower().startswith("header:") else None
        self._total = expressions.compile_expression(total) if total and not self._total_header else None

    def first(self, call: Call) -> Call:
        return replace(call, url=with_query(call.url, self._position()))

    def next(self, turn: Turn) -> Call | None:
        """Raises SchemaMismatch when paging goes in a circle or to another host."""
        kind = self._spec.kind
        if kind == "None" or turn.reply.empty:
            return None
        if kind in ("Offset", "Page"):
            return self._count_on(turn)
        if kind == "Cursor":
            return self._by_cursor(turn)
        target = self._link(turn) if kind == "LinkHeader" else self._value(turn)
        if not target:
            return None
        url = urljoin(turn.reply.url, str(target))
        if origin(url) != origin(turn.call.url):
            raise SchemaMismatch(
                f"The answer to {turn.call.shown} names a next page at {origin(url)[1]}, another host than"
                f" {origin(turn.call.url)[1]}; it was not followed."
            )
        if url == turn.call.url:
            raise SchemaMismatch(f"The answer to {turn.call.shown} names itself as the next page.")
        return replace(turn.call, url=url, body=None if turn.call.method == "GET" else turn.call.body)

    def _position(self) -> dict[str, Any]:
        spec = self._spec
        found: dict[str, Any] = {}
        if spec.kind == "Offset":
            found[spec.offset or "offset"] = self._offset
        elif spec.kind == "Page":
            found[spec.param or "page"] = self._page
        if spec.limit and spec.kind != "None":
            found[spec.limit] = self._size
        return found

    def _value(self, turn: Turn) -> Any:
        try:
            return self._from(turn.reply.value) if self._from else None
        except Mismatch:
            return None

    def _link(self, turn: Turn) -> str | None:
        for match in _LINK.finditer(turn.reply.headers.get("link", "")):
            rel = _REL.search(match.group(2))
            if rel and "next" in rel.group(1).lower().split():
                return match.group(1)
        return None

    def _by_cursor(self, turn: Turn) -> Call | None:
        token = self._value(turn)
        if token is None or token == "" or token is False:
            return None
        if token == self._token:
            raise SchemaMismatch(f"The answer to {turn.call.shown} names the same cursor again.")
        self._token = token
        return replace(turn.call, url=with_query(turn.call.url, {self._spec.param or "cursor": token}))

    def _known_total(self, turn: Turn) -> int | None:
        found: Any = None
        if self._total_header:
            found = turn.reply.headers.get(self._total_header)
        elif self._total:
            try:
                found = self._total(turn.reply.value)
            except Mismatch:
                return None
        try:
            return None if found is None else int(found)
        except (TypeError, ValueError):
            return None

    def _count_on(self, turn: Turn) -> Call | None:
        if self._missed(turn):
            return self._step_back(turn)
        total = self._known_total(turn)
        got = len(turn.records)
        if self._spec.kind == "Page":
            seen = (self._page - (1 if self._spec.start is None else self._spec.start) + 1) * self._size
        else:
            # Some systems give less than asked for, or leave out rows that the account may not see; to count on
            # by what came misses nothing, and a page of which nothing is left is passed over as a whole.
            seen = self._offset + (got if total is not None and got else self._size)
        if (seen >= total) if total is not None else got < self._size:
            return None
        if got and turn.records == self._before:
            raise SchemaMismatch(
                f"{turn.call.shown} answers with the same page again; it does not heed the page asked for."
            )
        self._before = turn.records
        if self._spec.kind == "Page":
            self._page += 1
            return replace(turn.call, url=with_query(turn.call.url, self._position()))
        anchor = self._last_cursor(turn)
        if anchor is not None and anchor != self._anchor and self._anchored is not None:
            self._anchor, self._offset = anchor, 0
            self._before, self._tail = None, []  # a page of rows of one second comes back the same from its new anchor
            call = self._anchored(anchor)
        else:
            self._offset = seen - (self._overlap(turn, seen - self._offset) if anchor is not None else 0)
            call = turn.call
        return replace(call, url=with_query(call.url, self._position()))

    def _missed(self, turn: Turn) -> bool:
        """Whether rows may lie between the page before and this one. Where many rows share one cursor value they are
        counted through, and those that move away meanwhile draw later ones forward; so such pages overlap."""
        return bool(self._tail and turn.records) and not any(record in turn.records for record in self._tail)

    def _step_back(self, turn: Turn) -> Call:
        """The page before again, from where the rows stand now; what is read twice does no harm."""
        self._steps_back += 1
        if self._steps_back > MAX_STEPS_BACK:
            raise Unreachable(f"{turn.call.shown} changes faster than it can be read; try at a quieter time.")
        self._before = None
        self._offset = max(0, self._offset - self._size)
        if not self._offset:
            self._tail = []
        return replace(turn.call, url=with_query(turn.call.url, self._position()))

    def _overlap(self, turn: Turn, ahead: int) -> int:
        """How many rows the next page is to repeat."""
        overlap = ahead // 10
        self._tail = turn.records[-overlap:] if overlap else []
        return overlap

    def _last_cursor(self, turn: Turn) -> str | None:
        """The cursor to begin anew at; None if this page does not come in the cursor's order."""
        if not self._spec.reanchor or self._cursor_of is None or not turn.records:
            return None
        try:
            found = [self._cursor_of(record) for record in turn.records]
        except Mismatch:
            return None
        cursors = [cursor for cursor in found if cursor is not None]
        if len(cursors) < len(found) or any(a > b for a, b in pairwise(cursors)):
            return None
        return cursors[-1]
