"""Why an exchange failed, in words. httpx is looked at by name: only `http` imports it."""

from __future__ import annotations

import socket
import ssl

_ALERTS = {
    "CERTIFICATE_EXPIRED": "it has expired",
    "CERTIFICATE_REVOKED": "it was revoked",
    "UNKNOWN_CA": "its issuer is not one that the system trusts",
    "CERTIFICATE_REQUIRED": "none was shown that the system could take",
    "ACCESS_DENIED": "it has no access",
    "UNSUPPORTED_CERTIFICATE": "it is of a kind that the system does not take",
    "BAD_CERTIFICATE": "the system calls it bad",
    "CERTIFICATE_UNKNOWN": "the system could not check it",
}
"""What a server says of a client's certificate (RFC 8446, 6.2), by the end of OpenSSL's names for it."""


def _is(error: BaseException, *names: str) -> bool:
    """Whether an exception is, or derives from, one of httpx' classes of these names."""
    return any(kind.__name__ in names and kind.__module__.startswith("httpx") for kind in type(error).__mro__)


def cause(error: BaseException) -> str:
    """Why an exchange failed, as the end of a sentence that begins with the host."""
    for link in _chain(error):
        if isinstance(link, socket.gaierror):
            return "cannot be resolved (DNS); check its name"
        if isinstance(link, ssl.SSLCertVerificationError):
            return f"shows a certificate that is not trusted ({link.verify_message}); give its CA in the CA bundle"
        if isinstance(link, ssl.SSLError) and str(link.reason or "").endswith("_ALERT_CERTIFICATE_REQUIRED"):
            return "asks for a client certificate, and none is sent"
        if isinstance(link, ssl.SSLError):
            return "fails the TLS handshake; check its address and port"
        if isinstance(link, ConnectionRefusedError):
            return "refuses the connection; check its address and port, and that it runs"
        if _is(link, "ProxyError"):
            return "cannot be reached through the proxy; check the proxy's address and credentials"
        if _is(link, "ConnectTimeout"):
            return "does not accept connections in time; check its address and the network"
        if isinstance(link, TimeoutError) or _is(link, "TimeoutException"):
            return "does not answer in time"
        if isinstance(link, ConnectionResetError) or _is(link, "RemoteProtocolError", "ReadError"):
            return "closed the connection in the middle of an answer"
    return f"cannot be reached ({type(error).__name__})"


def refused_certificate(error: BaseException) -> str:
    """Why the other side does not accept the client certificate; empty where it did not say so."""
    for link in _chain(error):
        if isinstance(link, ssl.SSLError) and not isinstance(link, ssl.SSLCertVerificationError):
            _, alert, name = str(link.reason or "").partition("_ALERT_")
            if alert and name in _ALERTS:
                return _ALERTS[name]
    return ""


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
