"""From one page's answer to the request of the next."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin

from towline.api.paging import Paginate
from towline_connectors.engine import expressions
from towline_connectors.engine.caller import Call, Reply
from towline_connectors.engine.errors import SchemaMismatch
from towline_connectors.engine.hosts import origin
from towline_connectors.engine.reading.counting import Anchor, Counter
from towline_connectors.engine.reading.placing import place
from towline_connectors.engine.values import Mismatch

DEFAULT_SIZE = 100
ODATA = ('="@odata.nextLink"', '="odata.nextLink"')
_LINK = re.compile(r'<([^>]*)>\s*((?:;\s*[\w*]+\s*=\s*(?:"[^"]*"|[^",;]+)\s*)*)')
_REL = re.compile(r'rel\s*=\s*"?([^";]+)"?')


@dataclass(slots=True)
class Turn:
    """A page that was read: its request and its answer."""

    call: Call
    reply: Reply
    records: list[Any]


Read = Callable[[Reply], Any]


def reader(given: str | None) -> Read:
    """What an expression over an answer, or header:NAME, reads from it; None where there is nothing."""
    if given is None:
        return lambda _reply: None
    if given.lower().startswith("header:"):
        name = given[7:].strip().lower()
        return lambda reply: reply.headers.get(name)
    compiled = expressions.compile_expression(given)

    def read(reply: Reply) -> Any:
        try:
            return compiled(reply.value)
        except Mismatch:
            return None

    return read


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
        self._spec = spec = spec or Paginate(kind="None")
        self._size = spec.size or DEFAULT_SIZE
        self._from = reader(spec.from_)
        self._more = reader(spec.more)
        self._token: Any = None
        self._before: list[Any] | None = None
        self._named = False  # an answer named the page after it, though pages are counted
        self._counter: Counter | None = None
        if spec.kind in ("Offset", "Page", "Range"):
            total = reader(spec.total) if spec.total or spec.kind != "Range" else _range_total
            anchor = Anchor(anchored, cursor_of, start) if spec.reanchor else None
            self._counter = Counter(spec, self._size, total, reader(spec.pages), anchor)
        self._key = expressions.compile_expression(spec.from_) if spec.kind == "Keyset" and spec.from_ else None

    @property
    def expected(self) -> int | None:
        """How many records there are in all, once an answer has said so."""
        return self._counter.expected if self._counter is not None else None

    def first(self, call: Call) -> Call:
        spec = self._spec
        if self._counter is not None:
            return self._counter.position(call)
        found: dict[str, Any] = {}
        where: str | None = spec.place
        if spec.kind == "GraphQL":
            where = "Body"
            if spec.size:
                found[f"variables.{spec.limit or 'first'}"] = spec.size
        elif spec.limit and spec.kind != "None":
            found[spec.limit] = self._size
        if spec.first is not None and spec.kind in ("Cursor", "Keyset", "GraphQL"):
            found[self._param] = spec.first
        return place(call, found, where)

    def next(self, turn: Turn) -> Call | None:
        """Raises SchemaMismatch when paging goes in a circle or to another host."""
        spec = self._spec
        if spec.kind == "None" or turn.reply.empty:
            return None
        if spec.more is not None and not expressions.truthy(self._more(turn.reply)):
            return None
        if spec.until == "Empty" and not turn.records:
            return None
        if self._counter is not None:
            return self._named_page(turn) if self._spec.from_ else self._counted_page(turn)
        if spec.kind in ("Cursor", "GraphQL", "Keyset"):
            return self._by_cursor(turn)
        return self._by_link(turn)

    def _counted_page(self, turn: Turn) -> Call | None:
        return self._counter.count_on(turn.call, turn.reply, turn.records) if self._counter is not None else None

    def _named_page(self, turn: Turn) -> Call | None:
        """The next URL, where one is named, of what else is counted. One at another host is not followed: counting
        on leads to the same page."""
        target = self._from(turn.reply)
        if not isinstance(target, str) or not target:
            return None if self._named else self._counted_page(turn)
        try:
            call = follow(turn.call, turn.reply, target)
        except SchemaMismatch:
            if self._named:
                raise
            return self._counted_page(turn)
        self._named = True
        return call

    @property
    def _param(self) -> str:
        if self._spec.kind == "GraphQL":
            return f"variables.{self._spec.param or 'after'}"
        return self._spec.param or "cursor"

    def _by_link(self, turn: Turn) -> Call | None:
        kind = self._spec.kind
        if kind == "LinkHeader":
            target: Any = link(turn.reply)
        elif kind == "OData":
            target = next((found for found in (read(turn.reply) for read in _ODATA) if found), None)
        else:
            target = self._from(turn.reply)
        if not target:
            return None
        if not isinstance(target, str):
            raise SchemaMismatch(f"The answer to {turn.call.shown} names a next page that is no address.")
        return follow(turn.call, turn.reply, target)

    def _by_cursor(self, turn: Turn) -> Call | None:
        token = self._cursor(turn)
        if token is None or token == "" or token is False:
            return None
        if isinstance(token, (dict, list)):
            raise SchemaMismatch(f"The answer to {turn.call.shown} names a cursor that is no text and no number.")
        if token == self._token:
            if self._spec.until == "Empty" and turn.records != self._before:
                return self._at(turn, token)  # a scroll, whose id stays the same while its pages go on
            if self._spec.until == "Empty":
                return None
            raise SchemaMismatch(f"The answer to {turn.call.shown} names the same cursor again.")
        self._token = token
        return self._at(turn, token)

    def _at(self, turn: Turn, token: Any) -> Call:
        self._before = turn.records if self._spec.until == "Empty" else None
        return place(turn.call, {self._param: token}, "Body" if self._spec.kind == "GraphQL" else self._spec.place)

    def _cursor(self, turn: Turn) -> Any:
        if self._spec.kind == "GraphQL":
            info = self._from(turn.reply)
            if not isinstance(info, dict) or info.get("hasNextPage") is False:
                return None
            return info.get("endCursor")
        if self._key is None:
            return self._from(turn.reply)
        got = len(turn.records)
        if not got or (got < self._size and self._spec.until is None and self._spec.more is None):
            return None
        try:
            return self._key(turn.records[-1])
        except Mismatch:
            return None


_ODATA = tuple(reader(one) for one in ODATA)


def follow(call: Call, reply: Reply, target: str) -> Call:
    """The request of a URL that an answer names. Raises SchemaMismatch when it leads to another host or nowhere."""
    try:
        url = urljoin(reply.url, target)
        there, here = origin(url), origin(call.url)
    except ValueError:
        raise SchemaMismatch(f"The answer to {call.shown} names a next page that is no address.") from None
    if there != here:
        raise SchemaMismatch(
            f"The answer to {call.shown} names a next page at {there[1]}, another host than {here[1]};"
            " it was not followed."
        )
    if url == call.url:
        raise SchemaMismatch(f"The answer to {call.shown} names itself as the next page.")
    return replace(call, url=url, body=None if call.method == "GET" else call.body)


def link(reply: Reply) -> str | None:
    """The URL that the answer's Link header (RFC 8288) calls next."""
    given = reply.headers
    values = given.get_list("link") if hasattr(given, "get_list") else [given.get("link", "")]
    for match in _LINK.finditer(", ".join(values)):
        rel = _REL.search(match.group(2))
        if rel and "next" in rel.group(1).lower().split():
            return match.group(1)
    return None


def _range_total(reply: Reply) -> Any:
    """The number behind the slash of Content-Range, as in `items 0-49/1234`."""
    return str(reply.headers.get("content-range", "")).rpartition("/")[2]
