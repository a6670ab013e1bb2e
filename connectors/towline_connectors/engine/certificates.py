"""How long certificates and tokens live: read from what is at hand anyway, so that an end is known before it comes."""

from __future__ import annotations

import base64
import binascii
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson

_PEM = "-----BEGIN CERTIFICATE-----"
_NEVER = 253402300799  # 9999-12-31T23:59:59Z, "no well-defined expiration date" (RFC 5280, 4.1.2.5)


@dataclass(frozen=True, slots=True)
class Lifetime:
    """When something is valid. `begins` is None where it does not say."""

    ends: datetime
    begins: datetime | None = None


def first_to_end(found: Iterable[Lifetime | None]) -> Lifetime | None:
    """The one that ends before the others."""
    return min((one for one in found if one is not None), key=lambda one: one.ends, default=None)


def of_connection(tls: Any) -> Lifetime | None:
    """Of the chain that the other end of a TLS connection has shown, the root apart; None if it was not verified.

    Python before 3.13 does not give the chain away: there the certificate of the server alone counts."""
    own = tls.getpeercert() if tls is not None else None
    if not own or "notAfter" not in own:
        return None
    first, last = (ssl.cert_time_to_seconds(own[name]) for name in ("notBefore", "notAfter"))
    chain: list[bytes] = tls.get_verified_chain() if hasattr(tls, "get_verified_chain") else []
    return first_to_end([_lifetime(first, last), *(_of_der(der) for der in chain[1:-1])])


def of_text(value: str) -> Lifetime | None:
    """Of a credential: certificates in PEM form, or a token whose claims can be read (RFC 7519). None for all else."""
    if _PEM in value:
        return _of_pem(value)
    return _of_token(value) if value.startswith("eyJ") and value.count(".") == 2 else None


def _of_pem(text: str) -> Lifetime | None:
    parts = (_PEM + part for part in text.split(_PEM)[1:])
    ders = []
    for part in parts:
        try:
            ders.append(ssl.PEM_cert_to_DER_cert(part[: part.index("-----END CERTIFICATE-----") + 25]))
        except (ValueError, binascii.Error):
            continue
    return first_to_end(_of_der(der) for der in ders)


@lru_cache(maxsize=1024)
def _of_der(der: bytes) -> Lifetime | None:
    from cryptography import x509  # a run without certificates does not need it

    try:
        found = x509.load_der_x509_certificate(der)
    except ValueError:
        return None
    return _lifetime(found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp())


def _of_token(token: str) -> Lifetime | None:
    part = token.split(".")[1]
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, binascii.Error):
        return None
    if not isinstance(claims, dict):
        return None
    ends, begins = claims.get("exp"), claims.get("iat", claims.get("nbf"))
    if not isinstance(ends, int | float) or isinstance(ends, bool):
        return None
    return _lifetime(begins if isinstance(begins, int | float) and not isinstance(begins, bool) else None, ends)


def _lifetime(begins: float | None, ends: float) -> Lifetime | None:
    try:
        if ends >= _NEVER:
            return None
        start = datetime.fromtimestamp(begins, UTC) if begins is not None else None
        return Lifetime(datetime.fromtimestamp(int(ends), UTC), start)
    except (OverflowError, ValueError, OSError):
        return None
