"""The second request: the entities behind ids, or more about each record."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

from towline.api.manifest import Stream
from towline.api.paging import Details
from towline_connectors.engine import expressions, values
from towline_connectors.engine.caller import Call, Caller
from towline_connectors.engine.errors import ConfigInvalid, PermissionDenied
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.reading.fetch import Fetcher, Piece
from towline_connectors.engine.reading.sidebyside import in_order
from towline_connectors.engine.values import Mismatch

DEFAULT_CONCURRENCY = 4


class Detailer:
    """For what a stream's first request found, its details."""

    def __init__(self, stream: Stream, details: Details, caller: Caller) -> None:
        self._stream = stream
        self._spec = details
        self._caller = caller
        self._form = details.format or stream.format or "JSON"
        self._fetch = Fetcher(caller, self._form, details.records, stream.parse)
        self._key = expressions.compile_expression(details.key) if details.key else None
        self._batch = 1 if details.into else details.batch

    async def pieces(self, found: list[Any], scope: Scope) -> AsyncGenerator[Piece, None]:
        """Details of these records, in their order. Records without a key count as unreadable."""
        keyed: list[tuple[str, Any]] = []
        unreadable = 0
        for record in found:
            key = self._key_of(record)
            if key is None:
                unreadable += 1
            else:
                keyed.append((key, record))
        if unreadable:
            yield Piece(unreadable=unreadable)

        async def starts() -> AsyncIterator[Callable[[], AsyncIterator[Piece]]]:
            for at in range(0, len(keyed), self._batch):
                yield partial(self._one, keyed[at : at + self._batch], scope)

        async with aclosing(in_order(starts(), self._stream.concurrency or DEFAULT_CONCURRENCY)) as pieces:
            async for piece in pieces:
                yield piece

    def _key_of(self, record: Any) -> str | None:
        try:
            return values.text(self._key(record) if self._key else record)
        except Mismatch:
            return None

    async def _one(self, keyed: list[tuple[str, Any]], scope: Scope) -> AsyncGenerator[Piece, None]:
        call = self._call([key for key, _record in keyed], scope)
        into = self._spec.into
        if into is None:
            try:
                async with aclosing(self._fetch.pieces(call)) as pieces:
                    async for piece in pieces:
                        yield Piece(piece.records, piece.unreadable)
            except (PermissionDenied, ConfigInvalid) as error:
                if not self._is_optional(error):
                    raise
                if isinstance(error, PermissionDenied):
                    yield Piece(incomplete=f"details were left out: {error.message}")
            return
        record = keyed[0][1]
        more: list[Any] = []
        try:
            async with aclosing(self._fetch.pieces(call)) as pieces:
                async for piece in pieces:
                    more = [*([] if piece.again else more), *piece.records]
        except (PermissionDenied, ConfigInvalid) as error:
            if not self._is_optional(error):
                raise
        shape: Any = more if self._spec.records else (more[0] if len(more) == 1 else more or None)
        yield Piece([{**(record if isinstance(record, dict) else {"value": record}), into: shape}])

    def _is_optional(self, error: PermissionDenied | ConfigInvalid) -> bool:
        return bool(self._spec.optional) and error.status in (403, 404, 410)

    def _call(self, keys: list[str], scope: Scope) -> Call:
        own = {**scope, "ids": keys, "id": keys[0]}
        budget, parse = self._stream.budget, self._stream.parse
        return self._caller.call(self._spec.request, own, budget=budget, phase=None, form=self._form, parse=parse)
