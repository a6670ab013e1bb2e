"""How a request proves who asks: one module a kind. Credentials are revealed here and nowhere else on the way."""

from __future__ import annotations

from collections.abc import Callable

from towline.api.auth import Auth
from towline_connectors.engine.auth.base import Authenticator, Context
from towline_connectors.engine.auth.fixed import Fixed
from towline_connectors.engine.errors import InvalidManifest

__all__ = ["Authenticator", "Context", "authenticator"]


def _aws(auth: Auth, context: Context) -> Authenticator:
    from towline_connectors.engine.auth.aws import SigV4

    return SigV4(auth, context)


def _jwt(auth: Auth, context: Context) -> Authenticator:
    from towline_connectors.engine.auth.jwt import SelfSigned

    return SelfSigned(auth, context)


def _oauth(auth: Auth, context: Context) -> Authenticator:
    from towline_connectors.engine.auth.oauth import OAuth2

    if not auth.token_url:
        raise InvalidManifest(f"http.auth: kind {auth.kind} needs tokenURL.")
    return OAuth2(auth, context)


def _session(auth: Auth, context: Context) -> Authenticator:
    from towline_connectors.engine.auth.session import Login

    return Login(auth, context)


def _signature(auth: Auth, context: Context) -> Authenticator:
    from towline_connectors.engine.auth.signature import Signed

    return Signed(auth, context)


_KINDS: dict[str, Callable[[Auth, Context], Authenticator]] = {
    "AWSSigV4": _aws,
    "JWT": _jwt,
    "Session": _session,
    "Signature": _signature,
}


def authenticator(auth: Auth | None, context: Context) -> Authenticator:
    """Raises KeyMissing when the Secret lacks what the kind needs, InvalidManifest, CredentialsRejected."""
    if auth is None:
        return Fixed(Auth(kind="None"), context)
    if auth.kind.startswith("OAuth2"):
        return _oauth(auth, context)
    return _KINDS.get(auth.kind, Fixed)(auth, context)
