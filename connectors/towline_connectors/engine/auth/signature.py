"""Signed requests: hashes, HMAC, RSA, ECDSA and Ed25519 over whatever the vendor wants to see signed."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import string
import uuid
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

from towline.api.auth import Auth, Nonce, Signature
from towline_connectors.engine import clock
from towline_connectors.engine.auth.base import Context, Plain, put
from towline_connectors.engine.auth.keys import load_key, sign_bytes
from towline_connectors.engine.errors import CredentialsRejected, InvalidManifest
from towline_connectors.engine.http import HttpRequest

DEFAULT_NONCE = 32  # characters
_HMAC = {"HMACSHA1": "sha1", "HMACSHA256": "sha256", "HMACSHA512": "sha512"}
_KEYED = {"RSASHA256": "RS256", "RSASHA512": "RS512", "ECDSASHA256": "ES256", "Ed25519": "EdDSA"}


class Signed(Plain):
    """Each request is signed anew."""

    signs = True

    def __init__(self, auth: Auth, context: Context) -> None:
        if auth.signature is None:
            raise InvalidManifest("http.auth: kind Signature needs signature.")
        self._spec: Signature = auth.signature
        self._context = context
        self._key: Any = self._load()

    def _load(self) -> Any:
        spec = self._spec
        if spec.algorithm in ("SHA256", "SHA512"):
            return b""
        if spec.key is None:
            raise InvalidManifest(f"http.auth.signature: algorithm {spec.algorithm} needs key.")
        text = self._context.text(spec.key)
        return load_key(text) if spec.algorithm in _KEYED else raw(text, spec.key_encoding)

    async def apply(self, request: HttpRequest) -> None:
        spec = self._spec
        sign = {"timestamp": timestamp(spec.timestamp, clock.wall()), "nonce": nonce(spec.nonce)}
        about = parts(request, spec.body_hash)
        message = self._context.text(spec.message, sign=sign, request=about)
        key = self._key
        for link in spec.derive or []:
            text = self._context.text(link.message, sign=sign, request=about)
            key = hmac.digest(key, raw(text, link.encoding), _HMAC.get(spec.algorithm, "sha256"))
        sign["signature"] = _encoded(self._sign(key, message.encode()), spec.encoding)
        headers = {
            name: self._context.text(value, sign=sign, request=about) for name, value in (spec.headers or {}).items()
        }
        if spec.split:
            whole, every = sign["signature"], spec.split.every
            for number, at in enumerate(range(0, len(whole), every), 1):
                headers[f"{spec.split.header}{number}"] = whole[at : at + every]
        put(request, headers)

    def _sign(self, key: Any, message: bytes) -> bytes:
        algorithm = self._spec.algorithm
        if algorithm in _HMAC:
            return hmac.digest(key, message, _HMAC[algorithm])
        if algorithm in _KEYED:
            return sign_bytes(key, _KEYED[algorithm], message)
        return hashlib.new(algorithm.lower(), message).digest()


def parts(request: HttpRequest, body_hash: str | None) -> dict[str, str]:
    """What a signature may speak of."""
    url = urlsplit(request.url)
    path = url.path or "/"
    content = request.body or b""
    return {
        "method": request.method,
        "host": url.netloc,
        "path": path,
        "query": url.query,
        "target": f"{path}?{url.query}" if url.query else path,
        "body": content.decode("utf-8", "replace"),
        "bodyHash": _body_hash(content, body_hash or "SHA256Hex"),
    }


def _body_hash(content: bytes, form: str) -> str:
    name = form.removesuffix("Hex").removesuffix("Base64").lower()
    digest = hashlib.new(name, content, usedforsecurity=False).digest()
    return digest.hex() if form.endswith("Hex") else base64.b64encode(digest).decode()


def _encoded(signature: bytes, form: str | None) -> str:
    if form == "Base64":
        return base64.b64encode(signature).decode()
    if form == "Base64URL":
        return base64.urlsafe_b64encode(signature).decode().rstrip("=")
    return signature.hex()


def raw(text: str, encoding: str | None) -> bytes:
    """Raises CredentialsRejected when the text is not what its encoding says."""
    try:
        if encoding == "Hex":
            return bytes.fromhex(text)
        if encoding == "Base64":
            return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise CredentialsRejected(
            f"The signing key in the Secret is not written in {encoding}; copy it from the vendor once more."
        ) from None
    return text.encode()


def timestamp(form: str | None, now: float) -> str:
    if form == "EpochMilliseconds":
        return str(int(now * 1000))
    moment = datetime.fromtimestamp(now, UTC)
    if form == "ISO8601":
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    if form == "HTTPDate":
        return format_datetime(moment, usegmt=True)
    return str(int(now))


def nonce(spec: Nonce | None) -> str:
    """Random, and drawn anew for each request."""
    alphabet = spec.alphabet if spec else None
    length = (spec.length if spec else None) or DEFAULT_NONCE
    if alphabet == "UUID":
        return str(uuid.uuid4())
    letters = "0123456789abcdef" if alphabet == "Hex" else string.ascii_letters + string.digits
    return "".join(secrets.choice(letters) for _ in range(length))
