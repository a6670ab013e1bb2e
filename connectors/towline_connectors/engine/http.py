"""HTTP to vendors: the only module that imports httpx.

One exchange at a time: no retries and no meaning here. Answers are read in pieces with a cap on what comes over
the wire and on what it inflates to, redirects are followed only within the same origin, and no request leaves
for a host that the plan does not allow.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import sys
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urljoin, urlsplit, urlunsplit

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # its command line: rich, pygments, 60 ms

import httpx  # noqa: E402

from towline_connectors.engine.errors import (  # noqa: E402
    ConfigInvalid,
    HostNotAllowed,
    SchemaMismatch,
    Unreachable,
)

MAX_BODY = 256 << 20  # bytes of one answer, after inflating
MAX_REDIRECTS = 5
CONNECT_SECONDS = 15.0


def user_agent() -> str:
    """towline/VERSION."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"towline/{version('towline')}"
    except PackageNotFoundError:  # run from a source tree
        return "towline"


logging.getLogger("httpx").setLevel(logging.WARNING)  # its INFO lines show URLs with their queries
logging.getLogger("httpcore").setLevel(logging.WARNING)


@dataclass(slots=True)
class HttpRequest:
    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | None = None
    shown: str = ""  # the path as the manifest writes it: what messages may name


@dataclass(slots=True)
class HttpAnswer:
    """Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str  # where it came from, after redirects


def host_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    """Whether a host is in the list; `*.example.com` stands for all below example.com."""
    host = host.lower().rstrip(".")
    for entry in allowed:
        pattern = entry_host(entry)
        if host == pattern or (pattern.startswith("*.") and host.endswith(pattern[1:]) and len(host) >= len(pattern)):
            return True
    return False


def entry_host(entry: str) -> str:
    """The host of an allowed-hosts entry, which may be written as a URL or with a port."""
    entry = entry.strip().lower().rstrip(".")
    if "://" in entry:
        return urlsplit(entry).hostname or ""
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    return entry.partition(":")[0] if entry.count(":") == 1 else entry


def origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or {"https": 443, "http": 80}.get(parts.scheme)


class Client:
    """HTTP/1.1 with keep-alive. `counts` has the answers by class: 2xx, 429, error …"""

    def __init__(
        self,
        allowed_hosts: tuple[str, ...],
        *,
        plain_http: bool = False,
        timeout: float = 60.0,
        ca_bundle: str | None = None,
        proxy: str | None = None,
        reroute: str | None = None,
        max_body: int = MAX_BODY,
    ) -> None:
        self._allowed = allowed_hosts
        self._plain_http = plain_http  # only where the base URL itself says http
        self._timeout = timeout
        self._ca_bundle = ca_bundle
        self._proxy = proxy
        self._reroute = reroute
        self._max_body = max_body
        self._clients: dict[str, httpx.AsyncClient] = {}
        self._agent = user_agent()
        self.counts: Counter[str] = Counter()

    async def send(self, request: HttpRequest) -> HttpAnswer:
        """One exchange. Raises Unreachable, HostNotAllowed, ConfigInvalid, SchemaMismatch."""
        first = origin(request.url)
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._exchange(request)
            target = answer.headers.get("location")
            if answer.status not in (301, 302, 303, 307, 308) or not target:
                return answer
            url = urljoin(request.url, target)
            if origin(url) != first or request.method not in ("GET", "HEAD"):
                raise ConfigInvalid(
                    f"{first[1]} redirects {request.method} {request.shown} to {origin(url)[1] or 'another place'};"
                    " Towline does not follow redirects to other hosts. Set the address that it redirects to.",
                    status=answer.status,
                )
            request = replace(request, url=url)
        raise ConfigInvalid(f"{first[1]} redirects {request.method} {request.shown} in a circle; check the address.")

    def check_host(self, url: str) -> str:
        """The URL's host. Raises HostNotAllowed or ConfigInvalid when nothing may be sent there."""
        try:
            parts = urlsplit(url)
            host = parts.hostname or ""
            _ = parts.port
        except ValueError:
            raise ConfigInvalid("The address of the system is not a URL; write https://HOST.") from None
        if parts.scheme not in ("https", "http") or not host:
            raise ConfigInvalid("The address of the system is not a URL; write https://HOST.")
        if "@" in parts.netloc:
            raise ConfigInvalid(f"The address of {host} holds a user name; put credentials into the Secret.")
        if parts.scheme == "http" and not self._plain_http:
            raise HostNotAllowed(f"{host} is addressed by http; credentials are only sent by https.")
        if not host_allowed(host, self._allowed):
            raise HostNotAllowed(
                f"Credentials may not be sent to {host}. Allow it in the Secret's annotation towline.dev/allowed-hosts,"
                " if this is the system that they belong to."
            )
        return host

    async def _exchange(self, request: HttpRequest) -> HttpAnswer:
        host = self.check_host(request.url)
        headers = {"user-agent": self._agent, "accept": "application/json", "accept-encoding": "gzip, deflate"}
        headers.update((name.lower(), value) for name, value in request.headers.items())
        url = request.url
        if self._reroute:
            parts = urlsplit(url)
            headers["host"] = parts.netloc
            url = self._reroute + urlunsplit(("", "", parts.path or "/", parts.query, ""))
        try:
            client = self._client(urlsplit(url).scheme)
            # A server that sends a byte now and then must not hold a run for ever.
            async with asyncio.timeout(max(600.0, 5 * self._timeout)):
                async with client.stream(request.method, url, headers=headers, content=request.body) as response:
                    body = await self._read(response, host)
        except (httpx.HTTPError, httpx.StreamError, OSError, TimeoutError) as error:
            self.counts["error"] += 1
            raise Unreachable(f"{host} {cause(error)}.") from error
        except (httpx.InvalidURL, UnicodeError, ValueError) as error:
            raise ConfigInvalid(f"The request {request.method} {request.shown} to {host} is malformed.") from error
        self.counts["429" if response.status_code == 429 else f"{response.status_code // 100}xx"] += 1
        return HttpAnswer(response.status_code, response.headers, body, request.url)

    async def _read(self, response: httpx.Response, host: str) -> bytes:
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding in ("", "identity"):
            return await self._collect(response, host, None)
        if encoding in ("gzip", "x-gzip"):
            return await self._collect(response, host, zlib.decompressobj(16 + zlib.MAX_WBITS))
        if encoding == "deflate":
            return await self._collect(response, host, zlib.decompressobj())
        raise SchemaMismatch(f"{host} answers in an encoding that was not asked for.", status=response.status_code)

    async def _collect(self, response: httpx.Response, host: str, inflater: zlib._Decompress | None) -> bytes:
        parts: list[bytes] = []
        total = 0
        async for chunk in response.aiter_raw():
            while chunk:
                if inflater is None:
                    piece, chunk = chunk, b""
                else:
                    try:
                        piece = inflater.decompress(chunk, 1 << 20)
                    except zlib.error:
                        raise Unreachable(f"{host} sent a damaged compressed answer.") from None
                    chunk = inflater.unconsumed_tail
                    if not piece and inflater.eof:
                        break
                total += len(piece)
                if total > self._max_body:
                    raise SchemaMismatch(
                        f"{host} sent an answer of more than {self._max_body >> 20} MiB; ask for smaller pages.",
                        status=response.status_code,
                    )
                parts.append(piece)
        if inflater is not None and parts and not inflater.eof:
            raise Unreachable(f"{host} closed the connection in the middle of an answer.")
        return b"".join(parts) if len(parts) != 1 else parts[0]

    def _client(self, scheme: str) -> httpx.AsyncClient:
        client = self._clients.get(scheme)
        if client is None:
            timeout = httpx.Timeout(self._timeout, connect=min(CONNECT_SECONDS, self._timeout))
            client = httpx.AsyncClient(
                verify=self._tls() if scheme == "https" else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                timeout=timeout,
                trust_env=False,
                proxy=self._proxy if scheme == "https" else None,
                follow_redirects=False,
                limits=httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=60),
            )
            self._clients[scheme] = client
        return client

    def _tls(self) -> ssl.SSLContext:
        import certifi  # costs some milliseconds, and plain http does not need it

        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        if self._ca_bundle:
            try:
                context.load_verify_locations(self._ca_bundle)
            except (OSError, ssl.SSLError):
                raise ConfigInvalid("The CA bundle holds no certificate in PEM form.") from None
        return context

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()


def cause(error: BaseException) -> str:
    """Why an exchange failed, as the end of a sentence that begins with the host."""
    for link in _chain(error):
        if isinstance(link, socket.gaierror):
            return "cannot be resolved (DNS); check its name"
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"shows a certificate that is not trusted ({link.verify_message}); give its CA in the CA bundle"
        if isinstance(link, ssl.SSLError):
            return "fails the TLS handshake; check its address and port"
        if isinstance(link, ConnectionRefusedError):
            return "refuses the connection; check its address and port, and that it runs"
        if isinstance(link, httpx.ProxyError):
            return "cannot be reached through the proxy; check the proxy's address and credentials"
        if isinstance(link, httpx.ConnectTimeout):
            return "does not accept connections in time; check its address and the network"
        if isinstance(link, (httpx.TimeoutException, TimeoutError)):
            return "does not answer in time"
        if isinstance(link, (httpx.RemoteProtocolError, httpx.ReadError, ConnectionResetError)):
            return "closed the connection in the middle of an answer"
    return f"cannot be reached ({type(error).__name__})"


def _chain(error: BaseException) -> list[BaseException]:
    """An exception and what caused it, the root first."""
    found: list[BaseException] = []
    todo = [error]
    while todo and len(found) < 32:
        link = todo.pop()
        found.append(link)
        if isinstance(link, BaseExceptionGroup):
            todo.extend(link.exceptions)
        following = link.__cause__ or link.__context__
        if following is not None:
            todo.append(following)
    return found[::-1]
