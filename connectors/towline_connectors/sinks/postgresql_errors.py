"""PostgreSQL's errors in a person's words: what happened, to which database, what to do. Never with a password
or the server's own text, which may quote rows."""

from __future__ import annotations

from typing import Final

import psycopg

from towline_connectors.sinks.address import describe as address
from towline_connectors.sinks.base import SinkError

# By SQLSTATE, the first prefix that fits: (sentence, worth another attempt, volume full).
_BY_STATE: Final[tuple[tuple[str, str, bool, bool], ...]] = (
    ("53100", "has no disk space left; nothing of this batch was written. Give its volume more space", True, True),
    ("53300", "has no connection left for us. Raise max_connections or lower the number of syncs at once", True, False),
    ("53", "is short of resources. Look at its log", True, False),
    ("25006", "is read-only. Name the primary server, or wait until a new one is promoted", True, False),
    ("42501", "does not let this user write. Grant it CREATE and USAGE on the schema and its tables", False, False),
    ("3F000", "has no schema that we may write to. Make one or name it in search_path", False, False),
    ("55P03", "kept us waiting for a lock for 60 s: another attempt may still write. Try again later", True, False),
    ("57014", "took longer than 10 minutes for one statement. Look at its load", True, False),
    ("57P", "is shutting down or starting up. Try again later", True, False),
    ("25P03", "ended our connection because a transaction stood still. Try again later", True, False),
    ("08", "broke the connection. Try again later", True, False),
    ("40", "undid our transaction for another one. Try again later", True, False),
    ("54", "refused a row that is too large for it", False, False),
    ("22", "refused a value that it cannot store", False, False),
    ("42", "has tables that do not fit this version of Towline. Give Towline a database of its own", False, False),
)  # fmt: skip

_REFUSALS: Final[tuple[tuple[tuple[str, ...], str, bool], ...]] = (
    (
        ("password authentication failed", "no password supplied", "authentication failed"),
        "refuses user and password. Correct them in the destination's URL",
        False,
    ),
    (("role", "does not exist"), "has no such user. Correct the user in the destination's URL", False),
    (("database", "does not exist"), "does not exist on that server. Create it", False),
    (("pg_hba.conf",), "does not let this user in from here. Allow it in pg_hba.conf", False),
    (("permission denied for database",), "does not let this user connect. Grant it CONNECT", False),
    (("too many", "connection"), "has no connection left for us. Try again later", True),
    (("starting up",), "is starting up. Try again later", True),
    (("shutting down",), "is shutting down. Try again later", True),
    (("certificate",), "shows a certificate that cannot be trusted. Give sslrootcert the CA's file", False),
    (("ssl",), "does not agree with us on TLS. See sslmode in the destination's URL", False),
    (("timeout expired",), "does not answer. Look at host, port and network policies", True),
    (("timed out",), "does not answer. Look at host, port and network policies", True),
    (("connection refused",), "refuses the connection: nothing listens there. Look at host and port", True),
    (("translate host name",), "has a host name that cannot be resolved. Correct the host", True),
    (("name or service not known",), "has a host name that cannot be resolved. Correct the host", True),
    (("failed to resolve host",), "has a host name that cannot be resolved. Correct the host", True),
)
_REPEAT: Final = ("08", "40", "57P", "25P03")


def is_worth_repeating(error: psycopg.Error) -> bool:
    """Whether the same transaction, on a new connection, may well pass."""
    state = error.sqlstate or ""
    return any(state.startswith(prefix) for prefix in _REPEAT)


def describe(error: psycopg.Error, url: str) -> SinkError:
    """An error of a statement."""
    where = address(url)
    state = error.sqlstate or ""
    for prefix, words, transient, full in _BY_STATE:
        if state.startswith(prefix):
            return SinkError(f"{where} {words}.", transient=transient, full=full)
    if not state:
        return SinkError(f"{where} broke the connection. Try again later.")
    return SinkError(f"{where} refused a statement (SQLSTATE {state}). Look at its log.")


def unresolved(url: str) -> SinkError:
    """An error of looking up the host."""
    return SinkError(f"{address(url)} has a host name that cannot be resolved. Correct the host.")


def describe_refusal(error: psycopg.Error, url: str) -> SinkError:
    """An error of connecting."""
    where, text = address(url), str(error).lower()
    for words, sentence, transient in _REFUSALS:
        if all(word in text for word in words) or (len(words) > 2 and any(word in text for word in words)):
            return SinkError(f"{where} {sentence}.", transient=transient)
    return SinkError(f"{where} cannot be reached. Look at host, port and network policies.")
