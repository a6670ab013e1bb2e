"""Reading a directory: LDAPS or StartTLS, simple bind, paged searches, ranges of large attributes.

The only module that imports ldap3. Its calls block, so they run one after another in a thread of their own; the next
page is fetched while the present one is mapped. A password never crosses an unencrypted connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPCommunicationError, LDAPException, LDAPInvalidFilterError
from pyasn1.error import PyAsn1Error

from towline.api.base import seconds
from towline.api.directory import Directory, Search
from towline.api.manifest import Stream
from towline_connectors.engine import certificates, ldap_values
from towline_connectors.engine.addresses import plain_host
from towline_connectors.engine.certificates import Lifetime
from towline_connectors.engine.errors import (
    ConfigInvalid,
    CredentialsRejected,
    HostNotAllowed,
    InvalidManifest,
    KeyMissing,
    SkipStream,
    Unreachable,
)
from towline_connectors.engine.interpolate import Scope, Secrets
from towline_connectors.engine.ldap_errors import cause, failure
from towline_connectors.engine.ldap_values import Wanted
from towline_connectors.engine.retry import Patience, Policy
from towline_connectors.engine.source import Origin, Page, Reading, Setup

T = TypeVar("T")
PAGED_RESULTS: Final = "1.2.840.113556.1.4.319"  # RFC 2696
SHOW_DELETED: Final = "1.2.840.113556.1.4.417"  # MS-ADTS 3.1.1.3.4.1.14
HIDDEN: Final = (32, 50)  # noSuchObject, insufficientAccessRights: how deleted entries are hidden from an account
CONNECT_TIMEOUT: Final = 15.0  # seconds
RETRY: Final = Policy(attempts=4, max_elapsed=120.0, initial=1.0, cap=30.0, jitter=True)
MAX_RANGE_ROUNDS: Final = 10_000  # a server that never ends a range must not hold us for ever
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
        secrets = scope.get("secret")
        self._secrets = secrets if isinstance(secrets, Secrets) else None
        self._directory = directory
        self._timeout = float(seconds(directory.timeout)) if directory.timeout else 120.0
        self.host, self.port, self._ldaps = _address(setup.text(directory.url))
        start_tls = setup.value(directory.start_tls) if directory.start_tls is not None else False
        self._start_tls = start_tls in (True, "true") and not self._ldaps
        if not self._ldaps and not self._start_tls:
            raise ConfigInvalid(
                f"ldap://{self.host}:{self.port} would carry the password in the clear:"
                " write ldaps:// in config.url, or set config.start_tls to true."
            )
        if not plain_host(self.host):
            raise ConfigInvalid(
                "config.url names no host as people write it: write its DNS name, or an IP address in its usual form."
            )
        if not _allowed(self.host, setup.allowed_hosts):
            raise HostNotAllowed(
                f"The credentials may not go to {self.host}: let the annotation towline.dev/allowed-hosts of the"
                f" Secret name it."
            )
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ldap")
        self._connection: ldap3.Connection | None = None
        self._usages: list[Any] = []  # of each connection that was made
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
        want = ldap_values.wanted(search.attributes, search.range_attributes)
        query = _Query(
            self._base(search), search.scope.upper(), reading.text(search.filter), want, bool(search.deleted)
        )
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
        searches = sum(int(usage.search_operations) for usage in self._usages)
        return {"search": searches} if searches else {}

    @property
    def received(self) -> int:
        """Bytes that came from the directory."""
        return sum(int(usage.bytes_received) for usage in self._usages)

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

    # From here on everything runs in the worker thread.

    def _submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._worker, self._guarded, work)

    async def _run(self, work: Callable[[], T]) -> T:
        return await self._submit(work)

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except LDAPInvalidFilterError:
            raise ConfigInvalid(
                f"{self._name} does not understand the search filter: see the filters in config."
            ) from None
        except (LDAPException, OSError) as error:
            self._connection = None
            raise Unreachable(f"The connection to {self._name} broke ({cause(error)}).") from None

    @property
    def _name(self) -> str:
        return f"directory {self.host}:{self.port}"

    def _connected(self) -> ldap3.Connection:
        """The bound connection; a new one if there is none or it was lost."""
        if self._connection is not None and self._connection.bound and not self._connection.closed:
            return self._connection
        used = self._secrets.edition if self._secrets is not None else 0
        try:
            connection = self._logged_in()
        except CredentialsRejected:
            # They may have been rotated since the run began.
            if self._secrets is None or not self._secrets.refresh(used):
                raise
            connection = self._logged_in()
        if self._secrets is not None:
            self._secrets.proved()
        self._connection = connection
        self._root = self._read_root(connection)
        return connection

    def _logged_in(self) -> ldap3.Connection:
        bind = self._directory.bind
        username, password = self._setup.text(bind.username), self._setup.text(bind.password)
        if not username or not password:
            # A directory takes a bind without password for an anonymous one and calls it a success (RFC 4513, 5.1.2).
            raise KeyMissing("The user name or the password of the directory is empty: fill both in the Secret.")
        connection = self._open(username, password)
        with _understood():
            connection.bind()
        self._expect(connection, "the log-in")
        return connection

    def _addresses(self) -> list[str]:
        """Resolved once and judged; ldap3, given a name, would resolve it again."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            raise Unreachable(f"{self._name} cannot be reached: DNS knows no address of that name.") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        self._setup.gate.check(self.host, addresses, self.port)
        return addresses

    def _open(self, username: str, password: str) -> ldap3.Connection:
        addresses = self._addresses()
        for address in addresses[:-1]:
            with contextlib.suppress(Unreachable):
                return self._open_at(address, username, password)
        return self._open_at(addresses[-1], username, password)

    def _open_at(self, address: str, username: str, password: str) -> ldap3.Connection:
        tls = _VerifiedTls(self.host, self._setup.ca_bundle, self._timeout)
        server = ldap3.Server(
            address,
            port=self.port,
            use_ssl=self._ldaps,
            tls=tls,
            get_info=ldap3.NONE,
            connect_timeout=CONNECT_TIMEOUT,
        )
        connection = ldap3.Connection(
            server,
            user=username,
            password=password,
            authentication=ldap3.SIMPLE,
            auto_bind=ldap3.AUTO_BIND_NONE,
            client_strategy=ldap3.SYNC,
            auto_referrals=False,
            check_names=False,
            read_only=True,
            receive_timeout=int(self._timeout) or 1,
            collect_usage=True,
        )
        self._usages.append(connection.usage)
        try:
            connection.open(read_server_info=False)
            if self._start_tls:
                connection.start_tls(read_server_info=False)
        except (LDAPException, OSError) as error:
            if tls.failure is not None:
                raise Unreachable(self._tls_message(tls.failure)) from None
            raise Unreachable(f"{self._name} cannot be reached ({cause(error)}).") from None
        connection.strategy.socket_size = 65536  # ldap3 asks for 4,096 bytes at a time, slow with large groups
        return connection

    def _tls_message(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"The certificate of {self._name} is not trusted ({error.verify_message}): give the CA in"
                " spec.caBundleRef, and connect by a name that the certificate has."
            )
        return f"{self._name} does not speak TLS as expected: ldaps:// belongs to port 636, StartTLS to 389."

    def _read_root(self, connection: ldap3.Connection, *more: str) -> dict[str, list[Any]]:
        attributes = [*ROOT_ATTRIBUTES, *more]
        want = ldap_values.wanted(attributes, None)
        _search(connection, "", "(objectClass=*)", search_scope=ldap3.BASE, attributes=list(want.request))
        self._expect(connection, "its root entry")
        for entry in connection.response or ():
            if entry["type"] == "searchResEntry":
                return ldap_values.collect("", entry["raw_attributes"], want)[0]
        return {}

    def _check(self) -> None:
        connection = self._connected()
        base = self._default_base()
        _search(connection, base, "(objectClass=*)", search_scope=ldap3.BASE, attributes=["1.1"])
        self._expect(connection, f"base {base}")

    def _origin(self, attribute: str) -> Origin:
        connection = self._connected()
        root = self._read_root(connection, attribute)
        value = str((root.get(attribute) or [""])[0])
        if not value.isdigit():
            raise ConfigInvalid(
                f"{self._name} tells no {attribute} in its root entry: config.url has to name a server of the kind"
                " that this connector is for, such as a domain controller (not the global catalogue's port)."
            )
        return Origin(cursor=value, anchor=self._anchor(connection, root))

    def _anchor(self, connection: ldap3.Connection, root: dict[str, list[Any]]) -> str | None:
        """Who counts: the domain controller and the id of its database, which changes after a restore."""
        service = str((root.get("dsServiceName") or [""])[0])
        if not service:
            return None
        want = ldap_values.wanted(["invocationId"], None)
        _search(connection, service, "(objectClass=*)", search_scope=ldap3.BASE, attributes=["invocationId"])
        found = [e for e in connection.response or () if e["type"] == "searchResEntry"]
        values = ldap_values.collect("", found[0]["raw_attributes"], want)[0] if found else {}
        identity = values.get("invocationId", [b""])[0]
        return f"{service.lower()} {identity.hex() if isinstance(identity, bytes) else identity}".strip()

    def _base(self, search: Search) -> str | None:
        return self._setup.text(search.base) if search.base else None

    def _default_base(self) -> str:
        configured = self._setup.text(self._directory.base) if self._directory.base else ""
        if configured:
            return configured
        contexts = self._root.get("defaultNamingContext") or self._root.get("namingContexts") or []
        if len(contexts) != 1:
            raise ConfigInvalid(f"{self._name} does not tell one base to search: name it in config.base.")
        return str(contexts[0])

    def _first_page(self, query: _Query) -> tuple[Page, bytes | None]:
        """A connection that was idle may be gone by now; one new attempt is made."""
        try:
            return self._page(query, None)
        except (LDAPException, OSError):
            self._connection = None
            return self._page(query, None)

    def _page(self, query: _Query, cookie: bytes | None) -> tuple[Page, bytes | None]:
        if cookie and (self._connection is None or self._connection.closed):
            raise Unreachable(f"The connection to {self._name} broke between two pages.")
        connection = self._connected()
        base = query.base or self._default_base()
        if base.endswith(","):
            base += self._default_base()
        _search(
            connection,
            base,
            query.filter,
            search_scope=query.scope,
            attributes=list(query.want.request),
            paged_size=self._directory.page_size,
            paged_criticality=False,
            paged_cookie=cookie,
            controls=[(SHOW_DELETED, False, None)] if query.deleted else None,
        )
        if query.deleted and connection.result["result"] in HIDDEN:
            raise SkipStream(f"{self._name} hides deleted entries from this account")
        self._expect(connection, f"the search below {base}")
        controls = connection.result.get("controls") or {}
        following = (controls.get(PAGED_RESULTS) or {}).get("value", {}).get("cookie") or None
        page = Page(records=[], raws=[])
        for entry in connection.response or ():
            if entry["type"] == "searchResEntry":
                self._add(page, connection, entry, query.want)
        return page, following

    def _add(self, page: Page, connection: ldap3.Connection, entry: dict[str, Any], want: Wanted) -> None:
        found, rest = ldap_values.collect(entry["dn"], entry["raw_attributes"], want)
        for attribute, start in ((r.attribute, r.start) for r in rest):
            found[attribute].extend(self._remaining(connection, entry["dn"], attribute, start))
        page.records.append(ldap_values.record(entry["dn"], found, want))
        assert page.raws is not None
        page.raws.append(ldap_values.raw(entry["dn"], found))

    def _remaining(self, connection: ldap3.Connection, dn: str, attribute: str, start: int) -> list[Any]:
        """The values of a range attribute from number `start` on (MS-ADTS 3.1.1.3.1.3.3)."""
        values: list[Any] = []
        want = ldap_values.wanted([], [attribute])
        position: int | None = start
        for _ in range(MAX_RANGE_ROUNDS):
            part = f"{attribute};range={position}-*"
            _search(connection, dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=[part])
            self._expect(connection, f"more values of {attribute}")
            entries = [e for e in connection.response or () if e["type"] == "searchResEntry"]
            if not entries:  # deleted meanwhile; the next run sees it
                return values
            found, rest = ldap_values.collect(dn, entries[0]["raw_attributes"], want)
            values.extend(found.get(attribute, []))
            following = rest[0].start if rest else None
            if following is None or following <= (position or 0):
                return values
            position = following
        raise Unreachable(f"{self._name} did not come to the end of {attribute} of one entry.")

    def _expect(self, connection: ldap3.Connection, what: str) -> None:
        """Raises what the last operation's result code means (RFC 4511, appendix A)."""
        code = connection.result["result"]
        if code == 0:
            return
        description = str(connection.result.get("description", code))
        raise failure(self._name, code, description, str(connection.result.get("message") or ""), what)


@contextlib.contextmanager
def _understood() -> Iterator[None]:
    """What is no LDAP, as of a proxy that answers in HTML, makes ldap3 fail in many ways: one error for them all."""
    try:
        yield
    except LDAPException:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, PyAsn1Error) as error:
        raise LDAPCommunicationError("the answer is no LDAP") from error


def _search(connection: ldap3.Connection, *arguments: Any, **named: Any) -> None:
    with _understood():
        connection.search(*arguments, **named)


class _Query:
    """One search, ready to be sent again for each page."""

    __slots__ = ("base", "deleted", "filter", "scope", "want")

    def __init__(self, base: str | None, scope: str, filter_: str, want: Wanted, deleted: bool) -> None:
        self.base = base
        self.deleted = deleted
        self.scope: Any = {"BASE": ldap3.BASE, "ONE": ldap3.LEVEL, "SUBTREE": ldap3.SUBTREE}[scope]
        self.filter = filter_
        self.want = want


class _VerifiedTls(ldap3.Tls):
    """TLS by the standard library's own checks of chain and host name; keeps why it failed."""

    def __init__(self, host: str, ca_bundle: str | None, timeout: float) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._host = host
        self.failure: Exception | None = None
        self._timeout = timeout
        self._context = ssl.create_default_context()
        if ca_bundle:
            self._context.load_verify_locations(ca_bundle)

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        try:
            connection.socket.settimeout(self._timeout)
            connection.socket = self._context.wrap_socket(connection.socket, server_hostname=self._host)
        except (OSError, ValueError) as error:
            self.failure = error
            raise


def _address(url: str) -> tuple[str, int, bool]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("ldap", "ldaps") or not parts.hostname or parts.path.strip("/") or parts.query:
        raise ConfigInvalid(f'"{url}" is no address of a directory: write ldaps://HOST or ldaps://HOST:PORT.')
    ldaps = parts.scheme == "ldaps"
    return parts.hostname, port or (636 if ldaps else 389), ldaps


def _allowed(host: str, allowed: tuple[str, ...]) -> bool:
    for entry in (a.lower() for a in allowed):
        if entry == host or (entry.startswith("*.") and host.endswith(entry[1:])):
            return True
    return False
