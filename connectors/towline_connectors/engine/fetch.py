"""One request and the records in its answer: whole for JSON, piece by piece for what can be cut into records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from towline.api.manifest import Parse
from towline_connectors.engine import expressions
from towline_connectors.engine.answers.document import splitter
from towline_connectors.engine.answers.packed import Unpacker
from towline_connectors.engine.caller import Call, Caller, Reply
from towline_connectors.engine.errors import SchemaMismatch, Unreachable
from towline_connectors.engine.expressions import Node
from towline_connectors.engine.values import Mismatch, shown

PIECE = 2_000  # records that are handed on together
MAX_STREAMED = 8 << 30  # bytes of one answer that is read in pieces, inflated
REREADS = 2  # times that an answer which breaks off is asked for again
PAUSE = 2.0  # seconds before that


@dataclass(slots=True)
class Piece:
    """Records of an answer. The last piece has the reply, without the records where they were cut out of it."""

    records: list[Any] = field(default_factory=list)
    unreadable: int = 0
    reply: Reply | None = None
    again: bool = False  # the answer broke off and begins anew: what came of it before comes again


class Fetcher:
    """How one stream (or its details) is asked for and cut into records. Raises InvalidManifest."""

    def __init__(self, caller: Caller, form: str, records: str | None, parse: Parse | None = None) -> None:
        self._caller = caller
        self._form = form
        self._parse = parse
        self._shown = records
        self._records = expressions.compile_expression(records) if records else None
        self._path = plain_path(expressions.parse(records)) if records and form == "XML" else None

    async def pieces(self, call: Call) -> AsyncIterator[Piece]:
        """Raises what Caller.send raises, and SchemaMismatch when there is no list where records should be."""
        if self._form == "JSON":
            reply = await self._caller.send(call)
            refuse_errors(reply, call, self._caller.host)
            yield Piece([] if reply.empty else self.extract(reply.value, call), reply=reply)
            return
        for attempt in range(REREADS + 1):
            begun = False
            try:
                async for piece in self._streamed(call):
                    if attempt and not begun:
                        piece.again = True
                    begun = True
                    yield piece
                return
            except Unreachable:
                if not begun or attempt == REREADS:
                    raise
                await asyncio.sleep(PAUSE)

    async def _streamed(self, call: Call) -> AsyncIterator[Piece]:
        host = self._caller.host
        async with self._caller.open(call) as stream:
            if stream is None:
                yield Piece(reply=Reply(None, {}, call.url, empty=True))
                return
            unpacker = Unpacker(f"{host}'s answer to {call.shown}", MAX_STREAMED)
            cutter = splitter(self._form, self._path, self._parse, host, call.shown)
            waiting: list[Any] = []
            member = 0

            def cut(sources: Iterator[bytes]) -> Iterator[list[Any]]:
                nonlocal cutter, member
                for data in sources:
                    if unpacker.members != member:
                        member = unpacker.members
                        yield cutter.close()
                        unreadable = cutter.unreadable
                        cutter = splitter(self._form, self._path, self._parse, host, call.shown)
                        cutter.unreadable = unreadable
                    yield cutter.feed(data)

            async def sources() -> AsyncIterator[Iterator[bytes]]:
                async for chunk in stream.chunks(MAX_STREAMED):
                    yield unpacker.feed(chunk)
                yield unpacker.close()

            async for source in sources():
                for found in cut(source):
                    waiting.extend(self._kept(found))
                    while len(waiting) > PIECE:
                        yield Piece(waiting[:PIECE])
                        waiting = waiting[PIECE:]
            waiting.extend(self._kept(cutter.close()))
            rest = cutter.rest()
            if self._form == "XML":
                waiting.extend(self._of_document(rest, call))
            yield Piece(waiting, cutter.unreadable, Reply(rest, stream.headers, stream.url))

    def _kept(self, found: list[Any]) -> list[Any]:
        """What the manifest calls the record in each piece of text."""
        if self._records is None or self._form == "XML":
            return found
        kept: list[Any] = []
        for one in found:
            try:
                value = self._records(one)
            except Mismatch:
                continue
            if isinstance(value, list):
                kept.extend(value)
            elif value is not None:
                kept.append(value)
        return kept

    def _of_document(self, rest: Any, call: Call) -> list[Any]:
        """Records that were not cut out while reading. Raises SchemaMismatch when it is another document."""
        root = next(iter(rest), "") if isinstance(rest, dict) else ""
        if self._path is None:
            return self.extract(rest, call)
        if root != self._path[0]:
            raise SchemaMismatch(
                f"The answer of {self._caller.host} to {call.shown} is a document {shown(root)} where"
                f" {self._path[0]} should be."
            )
        return []

    def extract(self, value: Any, call: Call) -> list[Any]:
        """The records in a document."""
        found = value
        if self._records is not None:
            try:
                found = self._records(value)
            except Mismatch:
                found = None
        if isinstance(found, list):
            return found
        if isinstance(found, dict):
            return [found]
        if found is None and self._records is None:
            return []
        if found is None and isinstance(value, dict) and _has_null(value, self._shown or ""):
            return []
        where = f"at {self._shown}" if self._shown else "at its root"
        what = "nothing" if found is None else shown(type(found).__name__)
        host = self._caller.host
        raise SchemaMismatch(f"The answer of {host} to {call.shown} has {what} {where} where a list should be.")


def _has_null(value: dict[str, Any], path: str) -> bool:
    """Whether a plain path's first name is there, but null: some systems write an empty list so."""
    name = path.removeprefix("=").partition(".")[0].strip('"')
    return name in value


def plain_path(tree: Node) -> list[str] | None:
    """The names of a.b.c; None if the expression is more than that."""
    if tree["type"] == "field":
        return [tree["value"]]
    if tree["type"] != "subexpression":
        return None
    parts = [plain_path(child) for child in tree["children"]]
    return None if None in parts else [name for part in parts for name in part or []]


def refuse_errors(reply: Reply, call: Call, host: str) -> None:
    """Raises SchemaMismatch when an API of GraphQL or JSON-RPC answers with errors instead of data."""
    body = call.body.value if call.body is not None and call.body.kind == "JSON" else None
    if not (isinstance(body, dict) and isinstance(reply.value, dict)):
        return
    codes: set[str] = set()
    if "query" in body and "variables" in body:
        errors, data = reply.value.get("errors"), reply.value.get("data")
        if not errors or (isinstance(data, dict) and any(member is not None for member in data.values())):
            return
        codes = {_code(one) for one in errors if isinstance(one, dict)} - {""} if isinstance(errors, list) else set()
    elif "jsonrpc" in body and reply.value.get("error"):
        error = reply.value["error"]
        number = error.get("code") if isinstance(error, dict) else None
        codes = {str(number)} if isinstance(number, int) else set()
    else:
        return
    told = f" ({', '.join(sorted(codes)[:3])})" if codes else ""
    raise SchemaMismatch(
        f"{host} answers the query to {call.shown} with errors{told}; the account may lack a right, or the API has"
        " changed and the connector has to follow."
    )


def _code(error: dict[str, Any]) -> str:
    extensions = error.get("extensions")
    code = extensions.get("code") if isinstance(extensions, dict) else None
    return code if isinstance(code, str) and code.replace("_", "").isalnum() and len(code) <= 40 else ""
