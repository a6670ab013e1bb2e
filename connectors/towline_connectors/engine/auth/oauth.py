"""OAuth 2 (RFC 6749): client credentials, password, refresh token and JWT bearer (RFC 7523) grants."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from towline.api.auth import Auth
from towline.api.base import seconds
from towline_connectors.engine.auth import jwt
from towline_connectors.engine.auth.base import DEFAULT_SKEW, Cached, Context, Grant
from towline_connectors.engine.auth.fixed import basic
from towline_connectors.engine.decode import decode_json
from towline_connectors.engine.errors import CredentialsRejected, RateLimited, SchemaMismatch, Unreachable
from towline_connectors.engine.http import HttpRequest

DEFAULT_LIFE = 3600.0  # seconds that a token lives when its issuer does not say
_JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_CLIENT_ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_CHECK = {
    "OAuth2ClientCredentials": "check the client id, the client secret and whether it has expired",
    "OAuth2Password": "check user name and password, and whether the account needs a second factor",
    "OAuth2RefreshToken": "the refresh token may have been used or revoked: make a new one",
    "OAuth2JWTBearer": "check the private key, its id, the issuer, and that this machine's clock is right",
}


class OAuth2(Cached):
    """One access token for all requests. A refresh token that comes with it is used first; when the issuer refuses
    that one, the grant of the manifest follows."""

    def __init__(self, auth: Auth, context: Context) -> None:
        super().__init__(float(seconds(auth.refresh_skew)) if auth.refresh_skew else DEFAULT_SKEW)
        self._auth = auth
        self._context = context
        self._url = context.text(auth.token_url or "")
        self._host = urlsplit(self._url).hostname or "the token URL"
        self._refresh: str | None = None
        if auth.kind == "OAuth2ClientCredentials" and auth.client_auth not in ("Assertion", "None"):
            self._secret()  # a key that is missing is told before anything is sent

    async def apply(self, request: HttpRequest) -> None:
        jwt.send_token(self._auth, self._context, request, self.session())

    async def fetch(self) -> Grant:
        if self._refresh is not None:
            grant = {"grant_type": "refresh_token", "refresh_token": self._refresh}
            self._refresh = None
            try:
                return await self._ask(grant)
            except CredentialsRejected:
                if self._auth.kind == "OAuth2RefreshToken":
                    raise
        return await self._ask(self._grant())

    def _grant(self) -> dict[str, str]:
        auth, context = self._auth, self._context
        if auth.kind == "OAuth2Password":
            return {
                "grant_type": "password",
                "username": context.text(auth.username or ""),
                "password": context.text(auth.password or ""),
            }
        if auth.kind == "OAuth2RefreshToken":
            token = context.text(auth.refresh_token or "${secret.refresh_token}")
            return {"grant_type": "refresh_token", "refresh_token": token}
        if auth.kind == "OAuth2JWTBearer":
            return {"grant_type": _JWT_BEARER, "assertion": self._assertion()}
        return {"grant_type": "client_credentials"}

    def _assertion(self, subject: str = "") -> str:
        if self._auth.assertion is None:
            raise CredentialsRejected("http.auth: this kind needs assertion.")
        client = self._client_id()
        return jwt.make(self._auth.assertion, self._context, client_id=client, audience=self._url, subject=subject)[0]

    def _client_id(self) -> str:
        if self._auth.client_id is None and self._auth.kind in ("OAuth2Password", "OAuth2JWTBearer"):
            return self._context.maybe("${secret.client_id}")
        return self._context.text(self._auth.client_id or "${secret.client_id}")

    def _secret(self) -> str:
        if self._auth.client_secret is None and self._auth.kind != "OAuth2ClientCredentials":
            return self._context.maybe("${secret.client_secret}")
        return self._context.text(self._auth.client_secret or "${secret.client_secret}")

    def _client(self, form: dict[str, str], headers: dict[str, str]) -> None:
        """How the client proves itself."""
        client, way = self._client_id(), self._auth.client_auth or "Body"
        if way == "Basic":
            # RFC 6749, 2.3.1: both parts are form-encoded before they are joined.
            headers["authorization"] = basic(quote(client, safe=""), quote(self._secret(), safe=""))
            return
        if client:
            form["client_id"] = client
        if way == "Assertion":
            form["client_assertion_type"] = _CLIENT_ASSERTION
            form["client_assertion"] = self._assertion(subject=client)
        elif way == "Body" and (secret := self._secret()):
            form["client_secret"] = secret

    async def _ask(self, grant: dict[str, str]) -> Grant:
        auth, context = self._auth, self._context
        form = dict(grant)
        headers = {name.lower(): context.text(value) for name, value in (auth.token_headers or {}).items()}
        self._client(form, headers)
        more = {"scope": auth.scope, "audience": auth.audience, **(auth.parameters or {})}
        form.update({name: value for name, text in more.items() if (value := context.maybe(text))})
        if auth.encoding == "JSON":
            headers["content-type"] = "application/json"
            body = orjson.dumps(form)
        else:
            headers["content-type"] = "application/x-www-form-urlencoded"
            body = urlencode(form).encode()
        answer = await context.send(HttpRequest("POST", self._url, headers, body, shown="the token"))
        self._judge(answer.status)
        return self._granted(decode_json(answer.body, self._host, "the token request"))

    def _judge(self, status: int) -> None:
        if 200 <= status < 300:
            return
        if status in (400, 401, 403):
            raise CredentialsRejected(
                f"{self._host} gives no token for these credentials ({status}); {_CHECK[self._auth.kind]}.",
                status=status,
            )
        if status == 429:
            raise RateLimited(f"{self._host} gives no more tokens for now (429).", retry_after=60, status=429)
        raise Unreachable(f"{self._host} answered the request for a token with {status}.", status=status)

    def _granted(self, found: Any) -> Grant:
        token = found.get("access_token") if isinstance(found, dict) else None
        if not isinstance(token, str) or not token:
            raise SchemaMismatch(f"{self._host} answered the request for a token without access_token.")
        refresh = found.get("refresh_token")
        if isinstance(refresh, str) and refresh:
            self._refresh = refresh
        values = {name: str(value) for name, value in found.items() if isinstance(value, str | int | float)}
        return Grant(values, _seconds(found.get("expires_in")))


def _seconds(life: Any) -> float:
    """Azure's older endpoint writes expires_in as text."""
    if isinstance(life, int | float) and not isinstance(life, bool) and life > 0:
        return float(life)
    if isinstance(life, str) and life.isdigit() and int(life) > 0:
        return float(life)
    return DEFAULT_LIFE
