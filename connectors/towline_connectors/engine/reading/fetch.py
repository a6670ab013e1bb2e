"""One request and the records in its answer: whole for JSON, piece by piece for what can be cut into records."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any

from towline.api.manifest import Parse
from towline_connectors.engine import expressions
from towline_connectors.engine.answers import json
from towline_connectors.engine.answers.array import JsonArray
from towline_connectors.engine.answers.cut import cut
from towline_connectors.engine.answers.document import MAX_DOCUMENT, splitter
from towline_connectors.engine.answers.packed import Unpacker, unpacked
from towline_connectors.engine.answers.text import Splitter
from towline_connectors.engine.caller import Call, Caller, Reply
from towline_connectors.engine.errors import SchemaMismatch, Unreachable
from towline_connectors.engine.values import Mismatch, shown

STEP = 1 << 20  # bytes that are cut at once
PIECE = 2_000  # records that are handed on together
MAX_STREAMED = 8 << 30  # bytes of one answer that is read in pieces, inflated
LARGE = 8 << 20  # bytes of JSON from which its records are cut out one by one
REREADS = 2  # times that an answer which breaks off is asked for again
PAUSE = 1.0  # seconds before that, and twice as many before the next


class _BrokenOffError(Exception):
    """An answer that began well and broke off; its cause is Unreachable."""


@dataclass(slots=True)
class Piece:
    """Records of an answer. The last piece has the reply, without the records where they were cut out of it."""

    records: list[Any] = field(default_factory=list)
    unreadable: int = 0
    incomplete: str | None = None  # see source.Page
    reply: Reply | None = None
    unread: bool = False  # the records are JSON that nobody has read yet
    again: bool = False  # the answer broke off and begins anew: what came of it before comes again


class Fetcher:
    """How one stream (or its details) is asked for and cut into records. Raises InvalidManifest."""

    def __init__(
        self,
        caller: Caller,
        form: str,
        records: str | None,
        parse: Parse | None = None,
        *,
        whole: bool = True,
        unread: bool = False,
    ) -> None:
        """`whole` when a JSON document is needed in one piece, `unread` when nobody but the mapping looks into its
        records."""
        self._caller = caller
        self._form = form
        self._parse = parse
        self._shown = records
        self._records = expressions.compile_expression(records) if records else None
        self._path = expressions.plain_path(expressions.parse(records)) if records else None
        self._cuts = not whole and (records is None or self._path is not None)
        self._unread = unread

    async def pieces(self, call: Call) -> AsyncGenerator[Piece, None]:
        """Raises what Caller.send raises, and SchemaMismatch when there is no list where records should be: such an
        answer counts as one that could not be read."""
        try:
            async with aclosing(self._pieces(call)) as pieces:
                async for piece in pieces:
                    yield piece
        except SchemaMismatch:
            yield Piece(unreadable=1)
            raise

    async def _pieces(self, call: Call) -> AsyncGenerator[Piece, None]:
        if self._form == "JSON" and (not self._cuts or self._caller.judges_bodies):
            answer = await self._caller.whole(call)
            reply = Reply(None, answer.headers, answer.url, answer.empty)
            if answer.body is None:
                yield Piece([] if reply.empty else self.extract(None, call), reply=reply)
                return
            about = f"{self._caller.host}'s answer to {call.shown}"
            yield self._of_documents([unpacked(answer.body, about, MAX_DOCUMENT)], reply, call)
            return
        begun = False
        for attempt in range(REREADS + 1):
            first = True
            try:
                async with aclosing(self._streamed(call)) as pieces:
                    async for piece in pieces:
                        piece.again, first, begun = first and begun, False, True
                        yield piece
                return
            except _BrokenOffError as broken:
                if attempt == REREADS and broken.__cause__ is not None:
                    raise broken.__cause__ from None
                await asyncio.sleep(PAUSE * (attempt + 1))

    async def _streamed(self, call: Call) -> AsyncGenerator[Piece, None]:
        about = f"{self._caller.host}'s answer to {call.shown}"
        async with self._caller.open(call) as stream:
            if stream is None:
                yield Piece(reply=Reply(None, {}, call.url, empty=True))
                return
            unpacker = Unpacker(about, MAX_STREAMED)

            async def unpacked() -> AsyncIterator[tuple[int, bytes]]:
                """Each piece with the number of its file, where the answer is a zip."""
                chunks = stream.chunks(MAX_STREAMED)
                while True:
                    try:
                        chunk = await anext(chunks, None)
                    except Unreachable as error:
                        raise _BrokenOffError from error
                    if chunk is None:
                        break
                    for data in unpacker.feed(chunk):
                        yield unpacker.members, data
                for data in unpacker.close():
                    yield unpacker.members, data

            source = unpacked()
            begun: list[tuple[int, bytes]] = []
            if self._form == "JSON":
                documents, begun = await self._documents(source, about)
                if documents is not None:
                    yield self._of_documents(documents, Reply(None, stream.headers, stream.url), call)
                    return
            async with aclosing(self._cut(_after(begun, source), Reply(None, stream.headers, stream.url), call)) as cut:
                async for piece in cut:
                    yield piece

    async def _cut(
        self, source: AsyncIterator[tuple[int, bytes]], reply: Reply, call: Call
    ) -> AsyncGenerator[Piece, None]:
        cutter = self._cutter(call)
        waiting: list[Any] = []
        unreadable = member = 0
        async for number, data in source:
            if number != member:
                waiting.extend(self._kept(cutter.close()))
                unreadable += cutter.unreadable
                member, cutter = number, self._cutter(call)
            for at in range(0, len(data), STEP):
                waiting.extend(self._kept(cutter.feed(data[at : at + STEP])))
                while len(waiting) > PIECE:
                    yield Piece(waiting[:PIECE])
                    waiting = waiting[PIECE:]
        waiting.extend(self._kept(cutter.close()))
        rest = cutter.rest()
        if self._form == "XML":
            waiting.extend(self._of_document(rest, call))
        elif self._form == "JSON" and self._path:
            waiting.extend(self.extract(rest, call))  # says so when there was no list
        yield Piece(waiting, unreadable + cutter.unreadable, reply=replace(reply, value=rest))

    def _cutter(self, call: Call) -> Splitter:
        if self._form == "JSON":
            return JsonArray(self._path or [], self._caller.host, call.shown)
        return splitter(self._form, self._path, self._parse, self._caller.host, call.shown)

    async def _documents(
        self, source: AsyncIterator[tuple[int, bytes]], about: str
    ) -> tuple[list[bytes] | None, list[tuple[int, bytes]]]:
        """The whole documents of an answer; None and what was read so far when it is large and can be cut."""
        read: list[tuple[int, bytes]] = []
        size = 0
        async for number, data in source:
            read.append((number, data))
            size += len(data)
            if size > MAX_DOCUMENT:
                raise SchemaMismatch(
                    f"{about} is a document of more than {MAX_DOCUMENT >> 20} MiB; ask for smaller pages."
                )
            if size > LARGE and number == 0 and (self._path or read[0][1].lstrip()[:1] == b"["):
                return None, read
        numbers = dict.fromkeys(number for number, _data in read) or {0: None}
        return [b"".join(data for number, data in read if number == one) for one in numbers], []

    def _of_documents(self, documents: list[bytes], reply: Reply, call: Call) -> Piece:
        if self._unread and len(documents) == 1 and (found_ := cut(documents[0], self._path or [])) is not None:
            reply = replace(reply, value=found_[0])
            refuse_errors(reply, call, self._caller.host)
            return Piece(found_[1], reply=reply, unread=True)
        found: list[Any] = []
        for document in documents:
            reply = replace(reply, value=json.loads(document, self._caller.host, call.shown))
            refuse_errors(reply, call, self._caller.host)
            found += self.extract(reply.value, call)
        return Piece(found, reply=reply)

    def _kept(self, found: list[Any]) -> list[Any]:
        """What the manifest calls the record in each piece of text."""
        if self._records is None or self._form in ("XML", "JSON"):
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


async def _after(
    begun: list[tuple[int, bytes]], source: AsyncIterator[tuple[int, bytes]]
) -> AsyncIterator[tuple[int, bytes]]:
    for one in begun:
        yield one
    begun.clear()
    async for one in source:
        yield one


def _has_null(value: dict[str, Any], path: str) -> bool:
    """Whether a plain path's first name is there, but null: some systems write an empty list so."""
    name = path.removeprefix("=").partition(".")[0].strip('"')
    return name in value


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
