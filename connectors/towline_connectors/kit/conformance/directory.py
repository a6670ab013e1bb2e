"""The suite for directories: a real slapd, and in front of it a server that has the faults of one.

It ends TLS, reads each LDAP message, and breaks what is asked for. A fault strikes the searches for data, not the
log-in and not the root entry. What only HTTP has does not apply.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import ssl
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from towline.api.connector import ConnectorSpec
from towline.contract import Plan
from towline_connectors.catalogue.iam import directory
from towline_connectors.kit import slapd
from towline_connectors.kit.conformance import ber, suite
from towline_connectors.kit.conformance.cases import NotApplicable
from towline_connectors.kit.conformance.faults import PAGE, Fault
from towline_connectors.kit.conformance.server import Server
from towline_connectors.kit.conformance.shared import Shared
from towline_connectors.kit.conformance.subject import Subject

TIMEOUT = "2s"  # of a directory that does not answer; nobody skips the time of a blocking call
_BASES = {"openldap": "openldap", "active-directory": "active-directory"}
_SMALL = {"people": 40, "groups": 12, "computers": 10, "everybody": 30}
_LIMITED = "a directory has no words for how long to wait"
_PAGES = "the server's own cookie leads to the next page; there is no other"


def directories() -> list[str]:
    """Names of the Connectors that are tested so."""
    return sorted(_BASES)


def available() -> bool:
    """Whether slapd is on this machine."""
    return slapd.installed()


def run(
    name: str,
    spec: ConnectorSpec,
    *,
    only: Sequence[str] = (),
    tell: Callable[[suite.Outcome], None] = lambda _outcome: None,
) -> list[suite.Outcome]:
    """All cases, or those in `only`, against a slapd of its own. Call it in a process with one thread."""
    folder = Path(tempfile.mkdtemp(prefix="towline-conformance-"))
    options = directory.Options(_BASES[name], **_SMALL)  # type: ignore[arg-type]
    account = "bind_dn" if any(each.key == "bind_dn" for each in spec.credentials or []) else "username"
    secrets = {account: options.reader, "password": directory.READER_PASSWORD}
    try:
        with slapd.running(options, folder / "slapd") as server:

            def config(url: str) -> Mapping[str, Any]:
                given: dict[str, Any] = {"url": url}
                properties = (spec.config_schema or {}).get("properties") or {}
                filters = {key: each["default"] for key, each in properties.items() if "default" in each}
                return {**filters, **given, "base": options.base}

            subject = _DirectorySubject(
                name, spec, lambda: None, config, secrets, folder, ca=str(server.ca), server_=server  # type: ignore[arg-type, return-value]
            )  # fmt: skip
            return suite.run_subject(subject, only=only, tell=tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True, kw_only=True)
class _DirectorySubject(Subject):
    server_: slapd.Slapd

    @contextmanager
    def server(self, fault: Fault | None = None) -> Iterator[Server]:
        wanted = fault or Fault()
        if wanted.kind == "status" and wanted.headers:
            raise NotApplicable(_LIMITED)
        if wanted.kind == "repeat":
            raise NotApplicable(_PAGES)
        with _serving(self.server_, wanted, len(self.spec.streams or []), self.port) as found:
            self.port = int(found.url.rpartition(":")[2])
            yield found

    def _plan(self, url: str, mode: str, uid: str, attempt: int, one_at_a_time: bool) -> Plan:
        plan = Subject._plan(self, url, mode, uid, attempt, one_at_a_time)
        if one_at_a_time:
            plan.manifest["ldap"]["timeout"] = TIMEOUT
        return plan


@contextmanager
def _serving(behind: slapd.Slapd, fault: Fault, streams: int, port: int) -> Iterator[Server]:
    """Fork, serve, and end the process afterwards."""
    shared = Shared()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.disable(logging.CRITICAL)
        with suppress(BaseException):
            asyncio.run(_Front(behind, fault, streams, shared).serve(port, writing))
        os._exit(1)
    os.close(writing)
    try:
        told = os.read(reading, 8)
        if not told:
            raise RuntimeError("the server in front of slapd did not start")
        yield Server(f"ldaps://localhost:{int(told)}", shared)
    finally:
        os.close(reading)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class _Front:
    """Between clients and slapd, message by message."""

    def __init__(self, behind: slapd.Slapd, fault: Fault, streams: int, shared: Shared) -> None:
        self._behind = behind
        self._fault = fault
        self._streams = streams
        self._shared = shared
        self._seen: set[bytes] = set()
        self._foreign = 0

    async def serve(self, port: int, told: int) -> None:
        stranger = await asyncio.start_server(self._astray, "127.0.0.1", 0)
        self._foreign = stranger.sockets[0].getsockname()[1]
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(self._behind.folder / "server.crt", self._behind.folder / "server.key")
        front = await asyncio.start_server(self._client, "127.0.0.1", port, ssl=tls)
        os.write(told, str(front.sockets[0].getsockname()[1]).encode())
        await asyncio.Event().wait()

    async def _astray(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._shared.astray += 1
        writer.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        trusted = ssl.create_default_context(cafile=str(self._behind.ca))
        upstream = await asyncio.open_connection(
            "127.0.0.1", self._behind.tls_port, ssl=trusted, server_hostname="localhost"
        )
        connection = _Connection(self, reader, writer, *upstream)
        answers = asyncio.create_task(connection.answers())
        with suppress(asyncio.IncompleteReadError, OSError, ValueError):
            await connection.requests()
        answers.cancel()
        for each in (writer, upstream[1]):
            each.close()

    def strikes(self, request: ber.Message) -> bool:
        """Whether the fault is for this search: the first of its kind, or each one."""
        self._shared.requests += 1
        if self._fault.kind == "none" or not ber.searches_for_data(request):
            return False
        always = not self._fault.once or self._fault.kind == "denied"
        if not always and request.operation in self._seen:
            return False
        self._seen.add(request.operation)
        self._shared.faults += 1
        return True

    @property
    def fault(self) -> Fault:
        return self._fault

    @property
    def stranger(self) -> str:
        return f"ldap://localhost:{self._foreign}/"

    def emptied(self) -> None:
        self._shared.emptied = (1 << self._streams) - 1


class _Connection:
    """One client."""

    def __init__(
        self,
        front: _Front,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_server: asyncio.StreamReader,
        to_server: asyncio.StreamWriter,
    ) -> None:
        self._front = front
        self._reader, self._writer = reader, writer
        self._from_server, self._to_server = from_server, to_server
        self._struck: set[int] = set()  # ids of searches whose answers are broken on their way
        self._password = b""

    async def requests(self) -> None:
        while True:
            request = await ber.read(self._reader)
            if request.tag == ber.BIND:
                self._password = ber.password(request)
            if request.tag != ber.SEARCH or not self._front.strikes(request):
                self._to_server.write(request.raw)
                continue
            number = request.number
            match self._front.fault.kind:
                case "status":
                    code = ber.BUSY if self._front.fault.status == 429 else ber.UNAVAILABLE
                    self._writer.write(ber.done(number, code))
                case "denied":
                    self._writer.write(ber.done(number, ber.NO_RIGHT))
                case "redirect":
                    self._writer.write(ber.done(number, ber.REFERRAL, referral=self._front.stranger))
                case "echo":
                    self._writer.write(ber.done(number, ber.OTHER, b"refused for " + self._password))
                case "page":
                    self._writer.write(PAGE)
                    await self._writer.drain()
                    return
                case "stall":
                    pass
                case "odd":
                    self._writer.write(ber.entry(number, "cn=odd", {"cn": b"towline-conformance"}))
                    self._to_server.write(request.raw)
                case _:  # empty, cut
                    self._struck.add(number)
                    self._to_server.write(request.raw)

    async def answers(self) -> None:
        with suppress(asyncio.IncompleteReadError, OSError, ValueError):
            while True:
                answer = await ber.read(self._from_server)
                if answer.number in self._struck:
                    if self._front.fault.kind == "empty" and answer.tag == ber.ENTRY:
                        self._front.emptied()
                        continue
                    if self._front.fault.kind == "cut":
                        self._writer.write(answer.raw[: len(answer.raw) // 2])
                        await self._writer.drain()
                        break
                self._writer.write(answer.raw)
        self._writer.close()
