"""How a request proves who asks. Secrets are revealed here and nowhere else on the way to a vendor."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from typing import Protocol
from urllib.parse import urlencode, urlsplit, urlunsplit

from towline.api.base import seconds
from towline.api.http import Auth
from towline_connectors.engine.decode import decode_json
from towline_connectors.engine.errors import (
    CredentialsRejected,
    InvalidManifest,
    RateLimited,
    SchemaMismatch,
    Unreachable,
)
from towline_connectors.engine.http import HttpAnswer, HttpRequest

DEFAULT_LIFE = 3600.0  # seconds that a token lives when its issuer does not say

Send = Callable[[HttpRequest], Awaitable[HttpAnswer]]
Text = Callable[[str], str]


class Authenticator(Protocol):
    async def apply(self, request: HttpRequest) -> None:
        """Put the credentials into the request."""

    def refresh(self) -> bool:
        """After a 401: whether trying once more with fresh credentials has a point."""


class Fixed:
    """None, Basic, Bearer, Header and Query: the same for every request."""

    def __init__(self, auth: Auth, text: Text) -> None:
        self._headers: dict[str, str] = {}
        self._query: dict[str, str] = {}
        if auth.kind == "Basic":
            pair = f"{text(auth.username or '')}:{text(auth.password or '')}"
            self._headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        elif auth.kind == "Bearer":
            self._headers["authorization"] = f"Bearer {text(auth.value or '')}"
        elif auth.kind == "Header":
            self._headers[auth.name or ""] = text(auth.value or "")
        elif auth.kind == "Query":
            self._query[auth.name or ""] = text(auth.value or "")
        for value in self._headers.values():
            if "\n" in value or "\r" in value:
                raise CredentialsRejected("A credential holds a line break; store it in the Secret without one.")

    async def apply(self, request: HttpRequest) -> None:
        request.headers.update(self._headers)
        if self._query:
            parts = urlsplit(request.url)
            query = "&".join(filter(None, [parts.query, urlencode(self._query)]))
            request.url = urlunsplit(parts._replace(query=query))

    def refresh(self) -> bool:
        return False


class ClientCredentials:
    """OAuth 2 client credentials (RFC 6749, 4.4). One token for all streams, fetched anew before it expires."""

    def __init__(self, auth: Auth, text: Text, send: Send, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = text(auth.token_url or "")
        form = {
            "grant_type": "client_credentials",
            "client_id": text(auth.client_id or "${secret.client_id}"),
            "client_secret": text(auth.client_secret or "${secret.client_secret}"),
        }
        if auth.scope:
            form["scope"] = text(auth.scope)
        self._form = urlencode(form).encode()
        self._skew = float(seconds(auth.refresh_skew)) if auth.refresh_skew else 60.0
        self._send = send
        self._clock = clock
        self._token: str | None = None
        self._good_until = 0.0
        self._refreshed = False
        self._lock = asyncio.Lock()

    async def apply(self, request: HttpRequest) -> None:
        async with self._lock:
            if self._token is None or self._clock() >= self._good_until:
                await self._fetch()
        request.headers["authorization"] = f"Bearer {self._token}"

    def refresh(self) -> bool:
        if self._refreshed:
            return False
        self._refreshed = True
        self._token = None
        return True

    async def _fetch(self) -> None:
        host = urlsplit(self._url).hostname or ""
        request = HttpRequest(
            "POST", self._url, {"content-type": "application/x-www-form-urlencoded"}, self._form, shown="the token"
        )
        answer = await self._send(request)
        if answer.status in (400, 401, 403):
            raise CredentialsRejected(
                f"{host} gives no token for these credentials ({answer.status}); check the client id, the client"
                " secret and whether it has expired.",
                status=answer.status,
            )
        if answer.status == 429:
            raise RateLimited(f"{host} gives no more tokens for now (429).", retry_after=60, status=429)
        if answer.status != 200:
            raise Unreachable(f"{host} answered the request for a token with {answer.status}.", status=answer.status)
        found = decode_json(answer.body, host, "the token request")
        token = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token:
            raise SchemaMismatch(f"{host} answered the request for a token without access_token.")
        life = found.get("expires_in")
        life = (
            float(life)
            if isinstance(life, (int, float)) or (isinstance(life, str) and life.isdigit())
            else DEFAULT_LIFE
        )
        self._token = token
        self._good_until = self._clock() + max(life - min(self._skew, life / 2), 1.0)


def authenticator(auth: Auth | None, text: Text, send: Send) -> Authenticator:
    """Raises KeyMissing when the Secret lacks what the kind needs."""
    if auth is not None and auth.kind == "OAuth2ClientCredentials":
        if not auth.token_url:
            raise InvalidManifest("http.auth: kind OAuth2ClientCredentials needs tokenURL.")
        return ClientCredentials(auth, text, send)
    return Fixed(auth or Auth(kind="None"), text)
