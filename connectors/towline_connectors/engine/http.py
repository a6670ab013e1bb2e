"""HTTP to vendors: the only module that imports httpx.

One exchange at a time: no retries and no meaning here. Answers are read in pieces with a cap on what comes over
the wire and on what it inflates to, redirects are followed only within the same origin, and no request leaves
for a host that the plan does not allow.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from urllib.parse import urljoin, urlsplit, urlunsplit

sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]  # its command line: rich, pygments, 60 ms

import httpx  # noqa: E402

from towline_connectors.engine import certificates, clock, connecting  # noqa: E402
from towline_connectors.engine.addresses import Gate, is_address, plain_host  # noqa: E402
from towline_connectors.engine.addresses import gate as gate_of  # noqa: E402
from towline_connectors.engine.certificates import Lifetime  # noqa: E402
from towline_connectors.engine.errors import (  # noqa: E402
    ConfigInvalid,
    CredentialsRejected,
    HostNotAllowed,
    SchemaMismatch,
    Unreachable,
)
from towline_connectors.engine.hosts import environment_proxy, host_allowed  # noqa: E402
from towline_connectors.engine.hosts import origin as origin  # noqa: E402
from towline_connectors.engine.network import cause, refused_certificate  # noqa: E402
from towline_connectors.engine.tls import Certificates  # noqa: E402

MAX_BODY = 256 << 20  # bytes of one answer, after inflating
MAX_REDIRECTS = 5
CONNECT_SECONDS = 15.0
PIECE = 1 << 20  # bytes that are inflated at once


@cache
def user_agent() -> str:
    """towline/VERSION. Asked for once: reading the distribution's metadata takes a millisecond."""
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
    cookies: Mapping[str, str] = field(default_factory=dict)  # that this answer set


@dataclass(slots=True)
class HttpStream:
    """An answer whose body is still to come."""

    status: int
    headers: Mapping[str, str]
    url: str
    chunks: Callable[[int], AsyncIterator[bytes]]
    """The body in pieces, inflated; at most this many bytes. Raises SchemaMismatch beyond, Unreachable when cut."""
    cookies: Mapping[str, str] = field(default_factory=dict)


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
        tls: Certificates | None = None,
        gate: Gate | None = None,
    ) -> None:
        self._gate = gate or gate_of(None)
        self._allowed = allowed_hosts
        self._plain_http = plain_http  # only where the base URL itself says http
        self._timeout = timeout
        self._ca_bundle = ca_bundle
        self._proxy = proxy
        self._reroute = reroute
        self.max_body = max_body
        self._certificates = tls
        self._clients: dict[tuple[str, str | None, int], httpx.AsyncClient] = {}
        """By scheme, proxy, and the edition of the Secret: once its values are others, connections are made anew."""
        self._agent = user_agent()
        self.counts: Counter[str] = Counter()
        self.certificate: Lifetime | None = None
        """Of all certificates that hosts have shown, the one that ends first."""
        self._looked_at: set[str] = set()
        self.received = 0  # bytes of answers as they came, before inflating

    async def send(self, request: HttpRequest, *, redirects: bool = True) -> HttpAnswer:
        """One exchange. Raises Unreachable, HostNotAllowed, ConfigInvalid, SchemaMismatch."""
        async with self.stream(request, redirects=redirects) as answer:
            parts = [piece async for piece in answer.chunks(self.max_body)]
            body = b"".join(parts) if len(parts) != 1 else parts[0]
            return HttpAnswer(answer.status, answer.headers, body, answer.url, answer.cookies)

    @asynccontextmanager
    async def stream(self, request: HttpRequest, *, redirects: bool = True) -> AsyncIterator[HttpStream]:
        """One exchange whose body is read in pieces. `redirects` false leaves even those within the origin alone,
        for requests whose signature holds for one address."""
        first = origin(request.url)
        async with AsyncExitStack() as stack:
            for _ in range(MAX_REDIRECTS + 1):
                inner = await stack.enter_async_context(AsyncExitStack())
                answer = await inner.enter_async_context(self._exchange(request))
                target = answer.headers.get("location")
                if answer.status not in (301, 302, 303, 307, 308) or not target:
                    yield answer
                    return
                await inner.aclose()
                url = urljoin(request.url, target)
                if origin(url) != first:
                    raise ConfigInvalid(
                        f"{first[1]} redirects {request.method} {request.shown} to {origin(url)[1] or 'another place'};"
                        " Towline does not follow redirects to other hosts. Set the address that it redirects to.",
                        status=answer.status,
                    )
                if request.method not in ("GET", "HEAD") or not redirects:
                    raise ConfigInvalid(
                        f"{first[1]} redirects {request.method} {request.shown}; Towline sends no body or signature a"
                        " second time. Set the address that it redirects to.",
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
        if not plain_host(host):
            raise ConfigInvalid(
                "The address of the system names no host as people write it; write its DNS name, or an IP address in"
                " its usual form such as 192.0.2.10."
            )
        if parts.scheme == "http" and not self._plain_http:
            raise HostNotAllowed(f"{host} is addressed by http; credentials are only sent by https.")
        if not host_allowed(host, self._allowed):
            raise HostNotAllowed(
                f"Credentials may not be sent to {host}. Allow it in the Secret's annotation towline.dev/allowed-hosts,"
                " if this is the system that they belong to."
            )
        return host

    @asynccontextmanager
    async def _exchange(self, request: HttpRequest) -> AsyncIterator[HttpStream]:
        host = self.check_host(request.url)
        headers = {"user-agent": self._agent, "accept": "application/json", "accept-encoding": "gzip, deflate"}
        headers.update((name.lower(), value) for name, value in request.headers.items())
        url = request.url
        if self._reroute:
            parts = urlsplit(url)
            headers["host"] = parts.netloc
            url = self._reroute + urlunsplit(("", "", parts.path or "/", parts.query, ""))
        # A server that sends a byte now and then must not hold a run for ever.
        longest = max(600.0, 5 * self._timeout)
        async with AsyncExitStack() as stack:
            with self._told(request, host), clock.at_work():
                client = self._client(url, host)
                async with asyncio.timeout(longest):
                    response = await stack.enter_async_context(
                        client.stream(request.method, url, headers=headers, content=request.body)
                    )
            self._look_at(response, host)
            self.counts["429" if response.status_code == 429 else f"{response.status_code // 100}xx"] += 1

            async def chunks(limit: int) -> AsyncIterator[bytes]:
                pieces = _inflated(response, host, limit, self._receive)
                deadline = asyncio.get_running_loop().time() + longest
                while True:
                    with self._told(request, host), clock.at_work():
                        async with asyncio.timeout_at(deadline):
                            piece = await anext(pieces, None)
                    if piece is None:
                        return
                    yield piece

            yield HttpStream(response.status_code, response.headers, request.url, chunks, _cookies(response))

    def _look_at(self, response: httpx.Response, host: str) -> None:
        """Remember until when the certificates of a host are valid, once for each."""
        if host in self._looked_at:
            return
        self._looked_at.add(host)
        stream = response.extensions.get("network_stream")
        tls = stream.get_extra_info("ssl_object") if stream is not None else None
        if tls is not None:
            self.certificate = certificates.first_to_end([self.certificate, certificates.of_connection(tls)])

    def _receive(self, size: int) -> None:
        self.received += size

    def _told(self, request: HttpRequest, host: str) -> _Told:
        own = self._certificates is not None and self._certificates.own
        return _Told(self.counts, request, host, own)

    def _client(self, url: str, host: str) -> httpx.AsyncClient:
        scheme, _, port = origin(url)
        proxy = self._proxy or environment_proxy(host) if scheme == "https" else None
        if proxy and is_address(host):
            self._gate.check(host, [host], port or 443)  # names are the proxy's to resolve, and to judge
        edition = self._certificates.edition if self._certificates else 0
        client = self._clients.get((scheme, proxy, edition))
        if client is None:
            transport = httpx.AsyncHTTPTransport(
                verify=self._tls() if scheme == "https" else _no_tls(),
                trust_env=False,
                proxy=proxy,
                limits=httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=60),
            )
            if not proxy or self._proxy:  # a proxy of the environment is the administrator's choice
                connecting.put_behind(transport, self._gate)
            timeout = httpx.Timeout(self._timeout, connect=min(CONNECT_SECONDS, self._timeout))
            client = httpx.AsyncClient(transport=transport, timeout=timeout, trust_env=False, follow_redirects=False)
            self._clients[scheme, proxy, edition] = client
        return client

    def _tls(self) -> ssl.SSLContext:
        if not self._ca_bundle and not self._certificates:
            return _public_tls()
        context = _new_tls()
        if self._ca_bundle:
            try:
                context.load_verify_locations(self._ca_bundle)
            except (OSError, ssl.SSLError):
                raise ConfigInvalid("The CA bundle holds no certificate in PEM form.") from None
        if self._certificates:
            self._certificates.add(context)
        return context

    async def close(self) -> None:
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()


def _new_tls() -> ssl.SSLContext:
    """Trusts the system's and the well-known CAs."""
    import certifi  # costs some milliseconds, and plain http does not need it

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


@cache
def _no_tls() -> ssl.SSLContext:
    """What httpx wants although nothing is encrypted; making one takes half a millisecond."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@cache
def _public_tls() -> ssl.SSLContext:
    """One for all clients without certificates of their own: reading the CAs takes 10 to 20 ms."""
    return _new_tls()


class _Told:
    """Turns what httpx and the network raise into a sentence."""

    def __init__(self, counts: Counter[str], request: HttpRequest, host: str, own: bool) -> None:
        """`own`: whether a client certificate is shown."""
        self._counts = counts
        self._request = request
        self._host = host
        self._own = own

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, httpx.HTTPError | httpx.StreamError | OSError | TimeoutError):
            self._counts["error"] += 1
            if self._own and (why := refused_certificate(error)):
                raise CredentialsRejected(
                    f"{self._host} does not accept the client certificate: {why}. Put one that it accepts into the"
                    " Secret, together with its key."
                ) from error
            raise Unreachable(f"{self._host} {cause(error)}.") from error
        if isinstance(error, httpx.InvalidURL | UnicodeError | ValueError):
            what = f"{self._request.method} {self._request.shown}"
            raise ConfigInvalid(f"The request {what} to {self._host} is malformed.") from error


def _cookies(response: httpx.Response) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in response.headers.get_list("set-cookie"):
        name, _, value = line.partition(";")[0].partition("=")
        found[name.strip()] = value.strip()
    return found


async def _inflated(
    response: httpx.Response, host: str, limit: int, receive: Callable[[int], None]
) -> AsyncIterator[bytes]:
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    inflater = None
    if encoding in ("gzip", "x-gzip"):
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
    elif encoding == "deflate":
        inflater = zlib.decompressobj()
    elif encoding not in ("", "identity"):
        raise SchemaMismatch(f"{host} answers in an encoding that was not asked for.", status=response.status_code)
    raw = total = 0
    async for chunk in response.aiter_raw():
        raw += len(chunk)
        receive(len(chunk))
        for piece in [chunk] if inflater is None else _inflate(inflater, chunk, host):
            total += len(piece)
            if max(raw, total) > limit:
                raise SchemaMismatch(
                    f"{host} sent an answer of more than {limit >> 20} MiB; ask for smaller pages.",
                    status=response.status_code,
                )
            yield piece
    if inflater is not None and raw and not inflater.eof:
        raise Unreachable(f"{host} closed the connection in the middle of an answer.")


def _inflate(inflater: zlib._Decompress, chunk: bytes, host: str) -> Iterator[bytes]:
    """What a chunk inflates to, a bounded piece at a time: a bomb is noticed before it fills the memory."""
    while chunk and not inflater.eof:
        try:
            piece = inflater.decompress(chunk, PIECE)
        except zlib.error:
            raise Unreachable(f"{host} sent a damaged compressed answer.") from None
        chunk = inflater.unconsumed_tail
        if piece:
            yield piece
