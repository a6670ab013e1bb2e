"""Answers in ranges as a domain controller does, in front of a real slapd, which has none.

Everything passes through as it is, but for entries with many members: of those only some come, as
`member;range=0-9`, until the client asks for `member;range=10-*` (MS-ADTS 3.1.1.3.1.3.3).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldap3.protocol import rfc4511
from pyasn1.codec.ber import decoder, encoder

SEARCH_REQUEST, SEARCH_RESULT_ENTRY = 0x63, 0x64


@dataclass
class RangeProxy:
    """`asked` has the ranges that clients asked for; `cut_after` ends a connection after so many searches."""

    folder: Path  # of the slapd: its certificate and its key are used as the proxy's own
    upstream: int
    size: int
    cut_after: int | None = None
    asked: list[str] = field(default_factory=list)
    port: int = 0
    _searches: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = ssl.create_default_context(cafile=str(self.folder / "ca.crt"))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            up_reader, up_writer = await asyncio.open_connection("localhost", self.upstream, ssl=context)
            starts: dict[int, int] = {}
            ways = (self._requests(reader, up_writer, starts), self._answers(up_reader, writer, starts))
            tasks = [asyncio.ensure_future(way) for way in ways]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            up_writer.close()
        writer.close()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, starts: dict[int, int]
    ) -> None:
        while True:
            raw = await _message(reader)
            if _operation(raw) == SEARCH_REQUEST:
                self._searches += 1
                if self.cut_after is not None and self._searches > self.cut_after:
                    return
            if b";range=" in raw:  # only then is it decoded: pyasn1 cannot read every filter that ldap3 writes
                message, _ = decoder.decode(raw, asn1Spec=rfc4511.LDAPMessage())
                names = message["protocolOp"]["searchRequest"]["attributes"]
                for position, name in enumerate([str(name) for name in names]):
                    self.asked.append(name)
                    plain, _, bounds = name.partition(";range=")
                    starts[int(message["messageID"])] = int(bounds.partition("-")[0])
                    names[position] = plain
                raw = encoder.encode(message)
            writer.write(raw)
            await writer.drain()

    async def _answers(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, starts: dict[int, int]
    ) -> None:
        while True:
            raw = await _message(reader)
            if _operation(raw) == SEARCH_RESULT_ENTRY:
                message, _ = decoder.decode(raw, asn1Spec=rfc4511.LDAPMessage())
                start = starts.get(int(message["messageID"]))
                if self._cut(message["protocolOp"]["searchResEntry"]["attributes"], start):
                    raw = encoder.encode(message)
            writer.write(raw)
            await writer.drain()

    def _cut(self, attributes: Any, start: int | None) -> bool:
        for attribute in attributes:
            values = [bytes(value) for value in attribute["vals"]]
            if str(attribute["type"]) != "member" or (start is None and len(values) <= self.size):
                continue
            begin = start or 0
            part = values[begin : begin + self.size]
            end = "*" if begin + self.size >= len(values) else str(begin + self.size - 1)
            attribute["type"] = f"member;range={begin}-{end}"
            attribute["vals"].clear()
            attribute["vals"].extend(part)
            return True
        return False


def _operation(raw: bytes) -> int:
    """The tag of a message's operation: behind the header and the number of the message (RFC 4511, 4.1.1)."""
    at = 2 + (raw[1] & 0x7F if raw[1] & 0x80 else 0)
    return raw[at + 2 + raw[at + 1]]


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One LDAP message with its BER header."""
    head = await reader.readexactly(2)
    length = head[1]
    if length & 0x80:
        more = await reader.readexactly(length & 0x7F)
        head, length = head + more, int.from_bytes(more, "big")
    return head + await reader.readexactly(length)


@contextmanager
def answering_in_ranges(folder: Path, upstream: int, size: int, cut_after: int | None = None) -> Iterator[RangeProxy]:
    """The proxy on a free port, in a thread of its own."""
    proxy = RangeProxy(folder, upstream, size, cut_after)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    loop = asyncio.new_event_loop()

    async def start() -> asyncio.Server:
        server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
        proxy.port = server.sockets[0].getsockname()[1]
        return server

    async def end(server: asyncio.Server) -> None:
        server.close()
        open_ones = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in open_ones:
            task.cancel()
        await asyncio.gather(*open_ones, return_exceptions=True)

    thread = threading.Thread(target=loop.run_forever, name="ranges", daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    try:
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(end(server), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()
