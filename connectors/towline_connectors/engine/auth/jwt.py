"""JSON Web Tokens that we sign (RFC 7515, 7518, 7519)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import uuid
from typing import TYPE_CHECKING, Any

import orjson

from towline.api.auth import Assertion, Auth
from towline.api.base import seconds
from towline_connectors.engine import clock, interpolate
from towline_connectors.engine.auth.base import Cached, Context, Grant, put
from towline_connectors.engine.auth.keys import load_key, sign_bytes
from towline_connectors.engine.errors import CredentialsRejected
from towline_connectors.engine.http import HttpRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_LIFETIME = 300.0  # seconds
_CURVE_BYTES = {"ES256": 32, "ES384": 48}


def encode(raw: bytes) -> str:
    """Base64 for URLs without padding."""
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def make(
    assertion: Assertion, context: Context, *, client_id: str, audience: str, subject: str = ""
) -> tuple[str, float]:
    """The token and how many seconds it is good. Raises KeyMissing, CredentialsRejected."""
    algorithm = assertion.algorithm or "RS256"
    text = context.text(assertion.key)
    key = None if algorithm == "HS256" else load_key(text)
    known: dict[str, Mapping[str, Any]] = {
        "client": {"id": client_id},
        "key": {"fingerprint": _fingerprint(key) if key is not None else ""},
    }
    now = int(clock.wall())
    life = float(seconds(assertion.lifetime)) if assertion.lifetime else DEFAULT_LIFETIME
    issuer = context.text(assertion.issuer, **known) if assertion.issuer else client_id
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": context.text(assertion.subject, **known) if assertion.subject else subject,
        "aud": context.text(assertion.audience, **known) if assertion.audience else audience,
        "iat": now,
        "exp": now + int(life),
        "jti": uuid.uuid4().hex,
    }
    scope = {**context.scope, "session": {}, **known}
    claims.update(interpolate.evaluate(dict(assertion.claims or {}), scope))
    header: dict[str, Any] = {"alg": algorithm, "typ": "JWT"}
    if key_id := context.maybe(assertion.key_id):
        header["kid"] = key_id
    header.update(_thumbprints(context.maybe(assertion.certificate)))
    kept = {name: value for name, value in claims.items() if value not in (None, "")}
    signed = f"{encode(orjson.dumps(header))}.{encode(orjson.dumps(kept))}"
    return f"{signed}.{encode(_sign(algorithm, key, text, signed.encode()))}", life


def _sign(algorithm: str, key: Any, text: str, message: bytes) -> bytes:
    if algorithm == "HS256":
        return hmac.digest(text.encode(), message, "sha256")
    signature = sign_bytes(key, algorithm, message)
    if algorithm in _CURVE_BYTES:
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        size = _CURVE_BYTES[algorithm]
        r, s = decode_dss_signature(signature)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return signature


def _fingerprint(key: Any) -> str:
    """SHA-256 of the public key's DER form, in Base64: how Snowflake names a key."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


def _thumbprints(certificate: str) -> dict[str, str]:
    """x5t and x5t#S256 (RFC 7515, 4.1.7 and 4.1.8): how Entra ID finds the certificate that was uploaded."""
    if not certificate:
        return {}
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        der = x509.load_pem_x509_certificate(certificate.encode()).public_bytes(Encoding.DER)
    except ValueError:
        raise CredentialsRejected(
            "The certificate in the Secret cannot be read; store it in PEM form, from -----BEGIN CERTIFICATE-----."
        ) from None
    return {
        "x5t": encode(hashlib.sha1(der, usedforsecurity=False).digest()),
        "x5t#S256": encode(hashlib.sha256(der).digest()),
    }


class SelfSigned(Cached):
    """Kind JWT: the token itself is the credential."""

    def __init__(self, auth: Auth, context: Context) -> None:
        super().__init__()
        self._auth = auth
        self._context = context
        self._client_id = context.maybe(auth.client_id or "${secret.client_id}")

    async def fetch(self) -> Grant:
        if self._auth.assertion is None:
            raise CredentialsRejected("http.auth: kind JWT needs assertion.")
        audience = self._context.maybe(self._auth.audience)
        token, life = make(self._auth.assertion, self._context, client_id=self._client_id, audience=audience)
        return Grant({"access_token": token}, life)

    async def apply(self, request: HttpRequest) -> None:
        send_token(self._auth, self._context, request, self.session())


def send_token(auth: Auth, context: Context, request: HttpRequest, session: Mapping[str, str]) -> None:
    """Put a token where `name` and `value` say."""
    value = context.text(auth.value or "Bearer ${session.access_token}", session=session)
    put(request, {auth.name or "authorization": value})
