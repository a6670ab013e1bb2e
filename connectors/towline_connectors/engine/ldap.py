"""Reading a directory as a source: one stream after another, the next page fetched while the present one is mapped.

ldap3's calls block, so they run one after another in a thread of their own. `ldap_connection` reaches the directory and
logs in, `ldap_search` asks it; these three are the only modules that import ldap3.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPInvalidFilterError

from towline.api.base import seconds
from towline.api.directory import Directory, Search
from towline.api.manifest import Stream
from towline_connectors.engine import certificates, ldap_values
from towline_connectors.engine.certificates import Lifetime
from towline_connectors.engine.errors import ConfigInvalid, InvalidManifest, Unreachable
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.ldap_connection import Dialer
from towline_connectors.engine.ldap_errors import cause
from towline_connectors.engine.ldap_search import Query, expect_entry, read_entry, read_page
from towline_connectors.engine.retry import Patience, Policy
from towline_connectors.engine.source import Origin, Page, Reading, Setup

T = TypeVar("T")
RETRY: Final = Policy(attempts=4, max_elapsed=120.0, initial=1.0, cap=30.0, jitter=True)
ROOT_ATTRIBUTES: Final = ("defaultNamingContext", "namingContexts", "dsServiceName")


def open_source(setup: Setup, scope: Scope) -> LdapSource:
    """The directory that a manifest's `ldap` describes. Raises InvalidManifest, ConfigInvalid, HostNotAllowed."""
    if setup.spec.ldap is None:
        raise InvalidManifest("The Connector has no ldap part.")
    return LdapSource(setup, setup.spec.ldap, scope)


class LdapSource:
    """One directory server with one account; see `source.Source`."""

    def __init__(self, setup: Setup, directory: Directory, scope: Scope) -> None:
        self._setup = setup
        self._directory = directory
        timeout = float(seconds(directory.timeout)) if directory.timeout else 120.0
        self._dialer = Dialer(setup, directory, scope, timeout)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ldap")
        self._connection: ldap3.Connection | None = None
        self._root: dict[str, list[Any]] = {}

    async def check(self) -> None:
        await self._run(self._check)

    async def origin(self, stream: Stream) -> Origin:
        cursor = stream.sync.cursor or ""
        if not cursor.startswith("root:"):
            return Origin()
        return await self._patiently(lambda: self._origin(cursor.removeprefix("root:")))

    async def read(self, reading: Reading) -> AsyncIterator[Page]:
        search = reading.stream.search
        if search is None:
            raise InvalidManifest(f"Stream {reading.stream.name} has no search: the connector is a directory.")
        query = self._query(search, reading)
        pending = asyncio.ensure_future(self._patiently(lambda: self._first_page(query)))
        try:
            while True:
                page, cookie = await pending
                if cookie:
                    following = partial(self._page, query, cookie)
                    pending = asyncio.ensure_future(self._patiently(following, begun=True))
                yield page
                if not cookie:
                    return
        finally:
            pending.cancel()

    def _query(self, search: Search, reading: Reading) -> Query:
        return Query(
            base=self._setup.text(search.base) if search.base else None,
            scope=search.scope.upper(),
            filter=reading.text(search.filter),
            want=ldap_values.wanted(search.attributes, search.range_attributes),
            deleted=bool(search.deleted),
            page_size=self._directory.page_size,
        )

    async def _patiently(self, work: Callable[[], T], *, begun: bool = False) -> T:
        """Try again where the directory is busy or cannot be reached; with `begun` only while the connection lasts,
        since the place between two pages is lost with it."""
        patience = Patience(RETRY, self._setup.deadline, self._setup.progress)
        while True:
            try:
                return await self._run(work)
            except Unreachable as error:
                if begun and (self._connection is None or self._connection.closed):
                    raise
                await patience.wait(error)

    @property
    def counts(self) -> dict[str, int]:
        """Operations by kind."""
        searches = sum(int(usage.search_operations) for usage in self._dialer.usages)
        return {"search": searches} if searches else {}

    @property
    def received(self) -> int:
        """Bytes that came from the directory."""
        return sum(int(usage.bytes_received) for usage in self._dialer.usages)

    @property
    def certificate(self) -> Lifetime | None:
        """How long the directory's certificate is valid; None without a connection."""
        connection = self._connection
        return certificates.of_connection(connection.socket) if connection is not None and connection.socket else None

    async def close(self) -> None:
        """Ends the connection at once, also while a search is running."""
        connection = self._connection
        if connection is not None and connection.socket is not None:
            with contextlib.suppress(OSError):
                connection.socket.shutdown(socket.SHUT_RDWR)
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, self._guarded, work)

    # From here on everything runs in the worker thread.

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except LDAPInvalidFilterError:
            raise ConfigInvalid(
                f"{self._dialer.name} does not understand the search filter: see the filters in config."
            ) from None
        except (LDAPException, OSError) as error:
            self._connection = None
            raise Unreachable(f"The connection to {self._dialer.name} broke ({cause(error)}).") from None

    def _connected(self) -> ldap3.Connection:
        """The bound connection; a new one if there is none or it was lost."""
        if self._connection is not None and self._connection.bound and not self._connection.closed:
            return self._connection
        self._connection = self._dialer.connect()
        self._root = self._read(self._connection, "", ROOT_ATTRIBUTES)
        return self._connection

    def _read(self, connection: ldap3.Connection, dn: str, attributes: tuple[str, ...]) -> dict[str, list[Any]]:
        return read_entry(connection, self._dialer.name, dn, attributes)

    def _check(self) -> None:
        connection = self._connected()
        expect_entry(connection, self._dialer.name, self._default_base())

    def _origin(self, attribute: str) -> Origin:
        connection = self._connected()
        root = self._read(connection, "", (*ROOT_ATTRIBUTES, attribute))
        value = str((root.get(attribute) or [""])[0])
        if not value.isdigit():
            raise ConfigInvalid(
                f"{self._dialer.name} tells no {attribute} in its root entry: config.url has to name a server of the"
                " kind that this connector is for, such as a domain controller (not the global catalogue's port)."
            )
        return Origin(cursor=value, anchor=self._anchor(connection, root))

    def _anchor(self, connection: ldap3.Connection, root: dict[str, list[Any]]) -> str | None:
        """Who counts: the domain controller and the id of its database, which changes after a restore."""
        service = str((root.get("dsServiceName") or [""])[0])
        if not service:
            return None
        values = self._read(connection, service, ("invocationId",))
        identity = values.get("invocationId", [b""])[0]
        return f"{service.lower()} {identity.hex() if isinstance(identity, bytes) else identity}".strip()

    def _default_base(self) -> str:
        configured = self._setup.text(self._directory.base) if self._directory.base else ""
        if configured:
            return configured
        contexts = self._root.get("defaultNamingContext") or self._root.get("namingContexts") or []
        if len(contexts) != 1:
            raise ConfigInvalid(f"{self._dialer.name} does not tell one base to search: name it in config.base.")
        return str(contexts[0])

    def _first_page(self, query: Query) -> tuple[Page, bytes | None]:
        """A connection that was idle may be gone by now; one new attempt is made."""
        try:
            return self._page(query, None)
        except (LDAPException, OSError):
            self._connection = None
            return self._page(query, None)

    def _page(self, query: Query, cookie: bytes | None) -> tuple[Page, bytes | None]:
        if cookie and (self._connection is None or self._connection.closed):
            raise Unreachable(f"The connection to {self._dialer.name} broke between two pages.")
        connection = self._connected()
        base = query.base or self._default_base()
        if base.endswith(","):
            base += self._default_base()
        return read_page(connection, self._dialer.name, query, base, cookie)
