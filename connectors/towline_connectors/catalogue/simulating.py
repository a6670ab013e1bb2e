"""What the simulators share: options from text, faults that any web API has, and serving.

A simulator is an aiohttp application with made-up data that depends on its options alone. It behaves as the vendor's
API does, at volume: records are made when they are asked for. Faults are switched on by options; tests in the same
process reach its state by `handle(application)`.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import hmac
import json
import typing
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from aiohttp import web

EPOCH = 1767225600  # 2026-01-01T00:00:00Z; nothing in a fresh simulator is younger

O = TypeVar("O")  # noqa: E741
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_HANDLE: web.AppKey[Any] = web.AppKey("simulator", object)


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """Options of every simulator."""

    seed: int = 1
    rate_limit_every: int = 0  # each n-th request is answered with 429
    retry_after: int = 1  # seconds that such an answer asks to wait
    error_every: int = 0  # each n-th request is answered with 503
    latency_ms: int = 0
    slow_path: str = ""  # requests whose path ends in this take `slow_ms` more
    slow_ms: int = 0


def parse(kind: type[O], given: Mapping[str, str]) -> O:
    """Options of a simulator from texts. ValueError names what is wrong and what there is."""
    hints = typing.get_type_hints(kind)
    names = sorted(field.name for field in dataclasses.fields(typing.cast("Any", kind)))
    values: dict[str, Any] = {}
    for key, text in given.items():
        name = key.replace("-", "_")
        if name not in names:
            raise ValueError(f"there is no option {key}; there are {', '.join(names)}")
        try:
            values[name] = hints[name](text) if hints[name] is not bool else _truth(text)
        except ValueError:
            raise ValueError(f'option {key}: "{text}" is no {hints[name].__name__}') from None
    return kind(**values)


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
        raise ValueError(text)
    return text.lower() in ("true", "1", "yes")


def make(
    handle: Any,
    faults: Faults,
    refuse: Callable[[web.Request], web.Response | None],
    limited: Callable[[int], web.Response] | None = None,
) -> web.Application:
    """An application that counts requests, checks credentials with `refuse`, and has the faults. `limited` makes the
    vendor's own 429 from the seconds to wait; left out, it is that of a web server."""
    requests = 0
    refusal = limited or too_many

    @web.middleware
    async def around(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal requests
        requests += 1
        if faults.latency_ms:
            await asyncio.sleep(faults.latency_ms / 1000)
        if faults.slow_path and request.path.endswith(faults.slow_path):
            await asyncio.sleep(faults.slow_ms / 1000)
        refused = refuse(request)
        if refused is not None:
            return refused
        if faults.rate_limit_every and requests % faults.rate_limit_every == 0:
            return refusal(faults.retry_after)
        if faults.error_every and requests % faults.error_every == 0:
            return web.Response(
                status=503, text="<html><body>Service Unavailable</body></html>", content_type="text/html"
            )
        return await handler(request)

    application = web.Application(middlewares=[around], client_max_size=1 << 20)
    application[_HANDLE] = handle
    return application


def handle(application: web.Application) -> Any:
    """The state behind a simulator, for tests in the same process."""
    return application[_HANDLE]


def too_many(seconds: int) -> web.Response:
    """429 as web servers give it: the body is HTML even where the API speaks JSON."""
    reset = int(datetime.now(UTC).timestamp()) + seconds
    headers = {"Retry-After": str(seconds), "X-RateLimit-Limit": "100", "X-RateLimit-Reset": str(reset)}
    page = "<html><head><title>429 Too Many Requests</title></head><body></body></html>"
    return web.Response(status=429, headers=headers, text=page, content_type="text/html")


@dataclass(slots=True)
class TokenEndpoint:
    """OAuth 2 client credentials (RFC 6749, 4.4): gives tokens by `handle`, and knows those it gave by `refuse`.

    `parameters` have to come with the request, as scope or audience. With `public_key` (PEM, RSA) the client proves
    itself by a signed token (RFC 7523) instead of its secret. A test may `revoke` all tokens."""

    client_id: str
    client_secret: str
    path: str  # what the path of the endpoint ends in
    parameters: Mapping[str, str] = field(default_factory=dict)
    lifetime: int = 3600  # seconds
    created: int = 200  # status of a good answer; some give 201
    public: Collection[str] = ()  # more paths that need no token
    public_key: str = ""
    issued: int = 0
    _valid: set[str] = field(default_factory=set)

    async def handle(self, request: web.Request) -> web.Response:
        form = await request.post()
        if form.get("grant_type", "client_credentials") != "client_credentials":
            return token_refused("unsupported_grant_type", "the grant is not one of client credentials", 400)
        if not self._proven({name: str(value) for name, value in form.items()}, request):
            return token_refused("invalid_client", "the client or its secret is wrong", 401)
        wrong = [name for name, value in self.parameters.items() if form.get(name) != value]
        if wrong:
            return token_refused("invalid_request", f"{wrong[0]} is missing or wrong", 400)
        self.issued += 1
        token = f"simulated-token-{self.issued}"
        self._valid.add(token)
        body = {"token_type": "Bearer", "expires_in": self.lifetime, "access_token": token}
        return web.json_response(body, status=self.created)

    def _proven(self, form: Mapping[str, str], request: web.Request) -> bool:
        if self.public_key:
            claims = signed_claims(form.get("client_assertion", ""), self.public_key)
            return claims is not None and claims.get("iss") == claims.get("sub") == self.client_id
        given = (form.get("client_id"), form.get("client_secret"))
        return given == (self.client_id, self.client_secret) or basic_matches(
            request, self.client_id, self.client_secret
        )

    def authorized(self, request: web.Request) -> bool:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        return (
            request.path.endswith(self.path)
            or request.path in self.public
            or (kind == "Bearer" and token in self._valid)
        )

    def revoke(self) -> None:
        self._valid.clear()


def signed_claims(token: str, public_key: str) -> dict[str, Any] | None:
    """Claims of a token that was signed by RS256 with the key's other half; None if it was not."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    def decoded(part: str) -> bytes:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))

    key = load_pem_public_key(public_key.encode())
    head, _, rest = token.partition(".")
    body, _, signature = rest.partition(".")
    try:
        if not isinstance(key, rsa.RSAPublicKey) or json.loads(decoded(head)).get("alg") != "RS256":
            return None
        key.verify(decoded(signature), f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
        claims = json.loads(decoded(body))
    except (InvalidSignature, ValueError):
        return None
    return claims if isinstance(claims, dict) else None


def token_refused(code: str, text: str, status: int) -> web.Response:
    """An answer of a token endpoint that gives no token (RFC 6749, 5.2)."""
    return web.json_response({"error": code, "error_description": text}, status=status)


def basic_matches(request: web.Request, username: str, password: str) -> bool:
    expected = "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
    return hmac.compare_digest(request.headers.get("Authorization", ""), expected)


def recently() -> float:
    """Epoch seconds of this week's beginning, for what only shows in a window that ends now."""
    today = datetime.now(UTC).date()
    return datetime.combine(today - timedelta(days=today.weekday()), datetime.min.time(), UTC).timestamp()


def moment(text: str) -> float:
    """Epoch seconds of a time as clients write it in filters. ValueError if it is none."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def iso(timestamp: float) -> str:
    return datetime.fromtimestamp(timestamp, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def serve(application: web.Application, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serve until interrupted. `ready` is called with the URL. OSError when the port is taken."""
    web.run_app(
        application,
        host=host,
        port=port,
        print=lambda *_: ready(f"http://{host}:{port}"),
        access_log=None,
        handle_signals=True,
    )
