"""A stream's request from its first page to its last: paging, details, and the token for the next run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from towline.api.manifest import Stream
from towline.api.paging import Paginate, SyncToken
from towline_connectors.engine import expressions
from towline_connectors.engine.caller import Call, Caller, Reply
from towline_connectors.engine.errors import (
    ConfigInvalid,
    CursorLost,
    InvalidManifest,
    JobLost,
    SchemaMismatch,
    Unreachable,
)
from towline_connectors.engine.hosts import origin
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.reading.details import Detailer
from towline_connectors.engine.reading.fetch import Fetcher, Piece
from towline_connectors.engine.reading.paging import Pager, Turn, reader
from towline_connectors.engine.reading.placing import place
from towline_connectors.engine.source import Page, Window

COUNTING = ("Offset", "Page", "Range", "Keyset")  # kinds of paging that count an answer's records
RESTARTS = 2  # times that paging begins anew when the vendor forgot its cursor


class Chain:
    """How one stream's request is read. `cursor_of` is a record's cursor, for re-anchoring."""

    def __init__(
        self,
        stream: Stream,
        caller: Caller,
        cursor_of: Callable[[Any], str | None] | None = None,
        *,
        unread: bool = False,
    ) -> None:
        """`unread` when whoever takes the pages can take records that nobody has read yet."""
        if stream.request is None:
            raise InvalidManifest(f"streams[{stream.name}] has no request.")
        self._stream = stream
        self._request = stream.request
        self._caller = caller
        self._cursor_of = cursor_of
        self._form = stream.format or "JSON"
        unread = unread and stream.details is None and not looks_into_records(stream)
        whole = looks_at_records(stream)
        self._fetch = Fetcher(caller, self._form, stream.records, stream.parse, whole=whole, unread=unread)
        self._details = Detailer(stream, stream.details, caller) if stream.details else None
        # Only counting needs a page as a whole; an answer of any length is handed on in pieces otherwise.
        self._counts = stream.paginate is not None and stream.paginate.kind in COUNTING
        self._token = stream.sync.token
        self._token_of = reader(self._token.from_) if self._token else None

    async def pages(
        self, scope: Scope, window: Window, watch: Callable[[Reply, int], None] | None = None
    ) -> AsyncGenerator[Page, None]:
        """`watch` sees each answer and how many records have come; what it raises ends the reading."""
        restarts = 0
        while True:
            try:
                async with aclosing(self._pass(scope, window, watch)) as passed:
                    async for page in passed:
                        yield page
                return
            except JobLost as lost:
                restarts += 1
                if restarts > RESTARTS:
                    raise Unreachable(
                        f"{self._caller.host} lost its place in {self._request.path} again and again."
                    ) from lost

    async def _pass(
        self, scope: Scope, window: Window, watch: Callable[[Reply, int], None] | None
    ) -> AsyncGenerator[Page, None]:
        def anchored(start: str) -> Call:
            return self._call({**scope, "window": {**scope.get("window", {}), "start": start}})

        pager = Pager(self._stream.paginate, anchored, self._cursor_of, window.start)
        call: Call | None = pager.first(self._call(scope))
        begun = self._token is not None and bool(window.start) and not window.full
        if begun and self._token is not None and call is not None:
            call = from_token(call, self._token, window.start, self._caller.base_url)
        token: str | None = None
        count = 0
        while call is not None:
            if origin(call.url) != origin(self._caller.base_url):
                self._caller.client.check_host(call.url)
            judged: list[Any] = []
            reply: Reply | None = None
            try:
                async with aclosing(self._fetch.pieces(call)) as pieces:
                    async for piece in pieces:
                        count += len(piece.records)
                        if self._counts:
                            judged = [*([] if piece.again else judged), *piece.records]
                        else:
                            judged = piece.records or judged
                        reply = piece.reply
                        if watch is not None and reply is not None:
                            watch(reply, count)
                        async with aclosing(self._paged(piece, call, scope)) as pages:
                            async for page in pages:
                                page.expected = pager.expected
                                yield page
            except ConfigInvalid as error:
                if begun and error.status == 410:
                    raise CursorLost(error.message) from error
                raise
            if reply is None:
                raise SchemaMismatch(f"{self._caller.host} answered {call.shown} with nothing.")
            if self._token_of is not None:
                found = self._token_of(reply)
                token = str(found) if found not in (None, "") else token
            call = pager.next(Turn(call, reply, judged))
        if token is not None:
            yield Page(cursor=token)

    async def _paged(self, piece: Piece, call: Call, scope: Scope) -> AsyncGenerator[Page, None]:
        if self._details is None:
            unread = (self._caller.host, call.shown) if piece.unread else None
            yield Page(piece.records, unreadable=piece.unreadable, unread=unread)
            return
        if piece.unreadable:
            yield Page(unreadable=piece.unreadable)
        async with aclosing(self._details.pieces(piece.records, scope)) as details:
            async for found in details:
                yield Page(found.records, unreadable=found.unreadable, incomplete=found.incomplete)

    def _call(self, scope: Scope) -> Call:
        budget, parse = self._stream.budget, self._stream.parse
        return self._caller.call(self._request, scope, budget=budget, phase=None, form=self._form, parse=parse)


def looks_at_records(stream: Stream) -> bool:
    """Whether paging needs the records of an answer: then it is held as a whole."""
    paginate = stream.paginate
    if paginate is None or stream.sync.token is not None:
        return False
    return paginate.kind in COUNTING or _mentions(paginate, stream.records or "")


def looks_into_records(stream: Stream) -> bool:
    """Whether paging needs more of the records than how many there are, and whether they came before."""
    paginate = stream.paginate
    if paginate is None or stream.sync.token is not None:
        return False
    held = paginate.until == "Empty" and paginate.kind not in COUNTING  # a page would be held until the next is there
    return paginate.kind == "Keyset" or bool(paginate.reanchor) or held or _mentions(paginate, stream.records or "")


def _mentions(paginate: Paginate, records: str) -> bool:
    path = expressions.plain_path(expressions.parse(records)) if records else None
    if not path:
        return True  # the root is the list, or it is computed: any expression over the answer sees it
    given = (paginate.from_, paginate.more, paginate.total, paginate.pages)
    texts = [one for one in given if one and not one.lower().startswith("header:")]
    return any(path[-1] in expressions.names(expressions.parse(one)) or "@" in one.replace('"@', "") for one in texts)


def from_token(call: Call, token: SyncToken, value: str, base_url: str) -> Call:
    """The first request of a run that goes on from a token. Raises CursorLost when it belongs to another host."""
    if token.place != "URL":
        return place(call, {token.param or "token": value}, token.place)
    try:
        same = origin(value) == origin(base_url)
    except ValueError:
        same = False
    if not same:
        raise CursorLost("The token belongs to another host.")
    return replace(call, url=value)
