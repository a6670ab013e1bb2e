"""What the API server refuses, in sentences that say what to do."""

from __future__ import annotations

import json
import re
from typing import Any

from towline.cli.errors import FORBIDDEN, CliError

_DENIED = re.compile(
    r'User "([^"]*)" cannot (\w+) resource "([^"]*)" in API group "([^"]*)"'
    r'(?: in the namespace "([^"]*)"| at the cluster scope)'
)


class Absent(Exception):  # noqa: N818
    """The API server answered 404."""


def explained(status: int, body: Any, context: str) -> Exception:
    """What an answer of this status means to who typed the command: Absent, or a CliError."""
    message = _status_message(body)
    if status == 404:
        return Absent()
    if status == 403:
        return _forbidden(message)
    if status == 401:
        return CliError(
            f'The cluster does not accept the credentials of context "{context}".',
            "Log in again, or choose another one with --context.",
            exit_code=FORBIDDEN,
        )
    return CliError(f"The API server refused: {message or f'status {status}'}.")


def _forbidden(message: str) -> CliError:
    """Which right is missing, in fewer words than the API server has for it."""
    found = _DENIED.search(message)
    if found is None:
        return CliError(f"You may not do this on the cluster: {message or 'forbidden'}.", exit_code=FORBIDDEN)
    user, verb, resource, group, namespace = found.groups()
    resource = f"{resource}.{group}" if group else resource
    place, scope = (f'namespace "{namespace}"', f"-n {namespace}") if namespace else ("the whole cluster", "-A")
    cures = [f"You are {user}. Whether it has changed: kubectl auth can-i {verb} {resource} {scope}"]
    if not namespace and verb == "list":
        cures.insert(0, "In a namespace of yours it may be allowed: -n NAMESPACE")
    return CliError(f"You may not {verb} {resource} in {place}.", *cures, exit_code=FORBIDDEN)


def _status_message(body: Any) -> str:
    """The sentence in a Kubernetes Status object."""
    try:
        return str(json.loads(body)["message"]).rstrip(".")
    except (TypeError, ValueError, KeyError):
        return ""


def cause(error: Exception) -> str:
    """Why there was no answer at all."""
    text = str(error)
    for word, sentence in (
        ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted"),
        ("Connection refused", "connection refused"),
        ("Name or service not known", "the host name is unknown"),
        ("Temporary failure in name resolution", "the host name is unknown"),
        ("timed out", "timed out"),
    ):
        if word in text:
            return sentence
    return type(error).__name__
