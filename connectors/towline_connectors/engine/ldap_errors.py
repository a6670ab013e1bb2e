"""What a directory's refusals mean, in a person's words."""

from __future__ import annotations

import re

from towline_connectors.engine.errors import (
    ConfigInvalid,
    CredentialsRejected,
    EngineError,
    PermissionDenied,
    Unreachable,
)

_AD_DETAIL = re.compile(r"\bdata ([0-9a-f]{3,8})\b")

# Active Directory's detail behind result 49 (MS-ADTS, Win32 error codes in hex).
_BIND_DETAILS = {
    "525": "there is no such user",
    "52e": "the password is wrong",
    "52f": "the account is restricted",
    "530": "the user may not log in at this hour",
    "531": "the user may not log in from this machine",
    "532": "the password has expired",
    "533": "the account is disabled",
    "701": "the account has expired",
    "773": "the password has to be changed at the next log-in",
    "775": "the account is locked",
}


def failure(name: str, code: int, description: str, message: str, what: str) -> EngineError:
    """What result `code` of the operation `what` on the directory `name` means (RFC 4511, appendix A)."""
    if code in (48, 49):
        why = bind_detail(message)
        return CredentialsRejected(f"{name} rejects the credentials{f': {why}' if why else ''}.")
    if code == 50:
        return PermissionDenied(f"{name} refuses {what}: the account lacks the right to read there.")
    if code == 32:
        base = what.removeprefix("the search below ")
        return ConfigInvalid(f"{name} has no {base}, or hides it from this account: correct config.base.")
    if code == 34 and what == "the log-in":
        return CredentialsRejected(f"{name} cannot read the name to log in with: correct it in the Secret.")
    if code == 34:
        return ConfigInvalid(f"{name} cannot read a distinguished name in {what}: correct config.base or the user.")
    if code == 10:
        return ConfigInvalid(f"{name} refers {what} to another server: name that one in config.url.")
    if code in (8, 13):
        return ConfigInvalid(f"{name} wants a protected connection: use ldaps://, or start_tls with ldap://.")
    if code in (4, 11):
        return ConfigInvalid(
            f"{name} stopped {what} at its limit ({description}): let its administrator raise the limit for"
            " this account, or narrow the filter."
        )
    if code in (18, 21, 87):
        return ConfigInvalid(f"{name} does not understand the filter of {what}: see the filters in config.")
    if code == 53 and what == "the log-in":
        return CredentialsRejected(f"{name} is unwilling to log this account in ({description}).")
    if code in (51, 52):
        return Unreachable(f"{name} is too busy for {what} ({description}).")
    return Unreachable(f"{name} could not do {what} ({description}).")


def bind_detail(message: str) -> str | None:
    """Why Active Directory refused a bind, in words; None where the server does not tell."""
    match = _AD_DETAIL.search(message)
    return _BIND_DETAILS.get(match.group(1)) if match else None


def cause(error: Exception) -> str:
    """A word or two; the libraries' messages may hold anything."""
    text = str(error).lower()
    for sign, word in (
        ("refused", "connection refused"),
        ("timed out", "no answer in time"),
        ("no route", "no route to the host"),
        ("unreachable", "network unreachable"),
        ("reset", "connection reset"),
        ("terminated by server", "closed by the server"),
        ("no ldap", "it did not answer in LDAP"),
    ):
        if sign in text:
            return word
    return type(error).__name__
