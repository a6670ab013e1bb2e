"""Reaching a directory and logging in: LDAPS or StartTLS, simple bind.

A password never crosses an unencrypted connection, and goes to no host or address that is not allowed. Everything
here blocks; `ldap.LdapSource` runs it in its worker thread.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Any, Final
from urllib.parse import urlsplit

import ldap3
from ldap3.core.exceptions import LDAPException

from towline.api.directory import Directory
from towline_connectors.engine.addresses import plain_host
from towline_connectors.engine.errors import ConfigInvalid, CredentialsRejected, HostNotAllowed, KeyMissing, Unreachable
from towline_connectors.engine.hosts import host_allowed
from towline_connectors.engine.interpolate import Scope, Secrets
from towline_connectors.engine.ldap_errors import cause
from towline_connectors.engine.ldap_search import expect, understood
from towline_connectors.engine.source import Setup

CONNECT_TIMEOUT: Final = 15.0  # seconds


class Dialer:
    """Opens connections to one directory with one account. Raises ConfigInvalid and HostNotAllowed when made."""

    def __init__(self, setup: Setup, directory: Directory, scope: Scope, timeout: float) -> None:
        self._setup = setup
        self._bind = directory.bind
        self._timeout = timeout  # seconds, of each answer
        secrets = scope.get("secret")
        self._secrets = secrets if isinstance(secrets, Secrets) else None
        self.host, self.port, self._ldaps = _address(setup.text(directory.url))
        self.name = f"directory {self.host}:{self.port}"
        self.usages: list[Any] = []  # of each connection that was made
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
        if not host_allowed(self.host, setup.allowed_hosts):
            raise HostNotAllowed(
                f"The credentials may not go to {self.host}: let the annotation towline.dev/allowed-hosts of the"
                f" Secret name it."
            )

    def connect(self) -> ldap3.Connection:
        """A new connection that is logged in."""
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
        return connection

    def _logged_in(self) -> ldap3.Connection:
        username, password = self._setup.text(self._bind.username), self._setup.text(self._bind.password)
        if not username or not password:
            # A directory takes a bind without password for an anonymous one and calls it a success (RFC 4513, 5.1.2).
            raise KeyMissing("The user name or the password of the directory is empty: fill both in the Secret.")
        connection = self._open(username, password)
        with understood():
            connection.bind()
        expect(connection, self.name, "the log-in")
        return connection

    def _addresses(self) -> list[str]:
        """Resolved once and judged; ldap3, given a name, would resolve it again."""
        try:
            found = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            raise Unreachable(f"{self.name} cannot be reached: DNS knows no address of that name.") from None
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
        self.usages.append(connection.usage)
        try:
            connection.open(read_server_info=False)
            if self._start_tls:
                connection.start_tls(read_server_info=False)
        except (LDAPException, OSError) as error:
            if tls.failure is not None:
                raise Unreachable(self._tls_message(tls.failure)) from None
            raise Unreachable(f"{self.name} cannot be reached ({cause(error)}).") from None
        connection.strategy.socket_size = 65536  # ldap3 asks for 4,096 bytes at a time, slow with large groups
        return connection

    def _tls_message(self, error: Exception) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return (
                f"The certificate of {self.name} is not trusted ({error.verify_message}): give the CA in"
                " spec.caBundleRef, and connect by a name that the certificate has."
            )
        return f"{self.name} does not speak TLS as expected: ldaps:// belongs to port 636, StartTLS to 389."


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
