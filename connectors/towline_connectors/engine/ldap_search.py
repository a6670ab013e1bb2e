"""Searching a directory on a connection that is open: page by page, with ranges of large attributes.

Everything here blocks; `ldap.LdapSource` runs it in its worker thread. `name` is what messages call the directory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import ldap3
from ldap3.core.exceptions import LDAPCommunicationError, LDAPException
from pyasn1.error import PyAsn1Error

from towline_connectors.engine import ldap_values
from towline_connectors.engine.errors import SkipStream, Unreachable
from towline_connectors.engine.ldap_errors import failure
from towline_connectors.engine.ldap_values import Wanted
from towline_connectors.engine.source import Page

PAGED_RESULTS: Final = "1.2.840.113556.1.4.319"  # RFC 2696
SHOW_DELETED: Final = "1.2.840.113556.1.4.417"  # MS-ADTS 3.1.1.3.4.1.14
HIDDEN: Final = (32, 50)  # noSuchObject, insufficientAccessRights: how deleted entries are hidden from an account
MAX_RANGE_ROUNDS: Final = 10_000  # a server that never ends a range must not hold us for ever
SCOPES: Final = {"BASE": ldap3.BASE, "ONE": ldap3.LEVEL, "SUBTREE": ldap3.SUBTREE}


@dataclass(frozen=True, slots=True)
class Query:
    """One search, ready to be sent again for each page. Without `base`, or where it ends with a comma, it is completed
    by the directory's own."""

    base: str | None
    scope: str  # a key of SCOPES
    filter: str
    want: Wanted
    deleted: bool
    page_size: int


def read_page(
    connection: ldap3.Connection, name: str, query: Query, base: str, cookie: bytes | None
) -> tuple[Page, bytes | None]:
    """The page at a cookie (None: the first), and the cookie of the next one (None: there is none)."""
    _search(
        connection,
        base,
        query.filter,
        search_scope=SCOPES[query.scope],
        attributes=list(query.want.request),
        paged_size=query.page_size,
        paged_criticality=False,
        paged_cookie=cookie,
        controls=[(SHOW_DELETED, False, None)] if query.deleted else None,
    )
    if query.deleted and connection.result["result"] in HIDDEN:
        raise SkipStream(f"{name} hides deleted entries from this account")
    expect(connection, name, f"the search below {base}")
    controls = connection.result.get("controls") or {}
    following = (controls.get(PAGED_RESULTS) or {}).get("value", {}).get("cookie") or None
    page = Page(records=[], raws=[])
    for entry in _entries(connection):
        _add(page, connection, name, entry, query.want)
    return page, following


def read_entry(connection: ldap3.Connection, name: str, dn: str, attributes: Sequence[str]) -> dict[str, list[Any]]:
    """Attributes of one entry; nothing if it is not there. The root entry's name is empty."""
    want = ldap_values.wanted(attributes, None)
    _search(connection, dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=list(want.request))
    if not dn:
        expect(connection, name, "its root entry")
    for entry in _entries(connection):
        return ldap_values.collect(dn, entry["raw_attributes"], want)[0]
    return {}


def expect_entry(connection: ldap3.Connection, name: str, dn: str) -> None:
    """Raises what it means when a base cannot be read."""
    _search(connection, dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=["1.1"])
    expect(connection, name, f"base {dn}")


def expect(connection: ldap3.Connection, name: str, what: str) -> None:
    """Raises what the last operation's result code means (RFC 4511, appendix A)."""
    code = connection.result["result"]
    if code == 0:
        return
    description = str(connection.result.get("description", code))
    raise failure(name, code, description, str(connection.result.get("message") or ""), what)


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """What is no LDAP, as of a proxy that answers in HTML, makes ldap3 fail in many ways: one error for them all."""
    try:
        yield
    except LDAPException:
        raise
    except (LookupError, ValueError, TypeError, AttributeError, PyAsn1Error) as error:
        raise LDAPCommunicationError("the answer is no LDAP") from error


def _search(connection: ldap3.Connection, *arguments: Any, **named: Any) -> None:
    with understood():
        connection.search(*arguments, **named)


def _entries(connection: ldap3.Connection) -> list[dict[str, Any]]:
    return [entry for entry in connection.response or () if entry["type"] == "searchResEntry"]


def _add(page: Page, connection: ldap3.Connection, name: str, entry: dict[str, Any], want: Wanted) -> None:
    found, rest = ldap_values.collect(entry["dn"], entry["raw_attributes"], want)
    for attribute, start in ((r.attribute, r.start) for r in rest):
        found[attribute].extend(_remaining(connection, name, entry["dn"], attribute, start))
    page.records.append(ldap_values.record(entry["dn"], found, want))
    assert page.raws is not None
    page.raws.append(ldap_values.raw(entry["dn"], found))


def _remaining(connection: ldap3.Connection, name: str, dn: str, attribute: str, start: int) -> list[Any]:
    """The values of a range attribute from number `start` on (MS-ADTS 3.1.1.3.1.3.3)."""
    values: list[Any] = []
    want = ldap_values.wanted([], [attribute])
    position: int | None = start
    for _ in range(MAX_RANGE_ROUNDS):
        part = f"{attribute};range={position}-*"
        _search(connection, dn, "(objectClass=*)", search_scope=ldap3.BASE, attributes=[part])
        expect(connection, name, f"more values of {attribute}")
        entries = _entries(connection)
        if not entries:  # deleted meanwhile; the next run sees it
            return values
        found, rest = ldap_values.collect(dn, entries[0]["raw_attributes"], want)
        values.extend(found.get(attribute, []))
        following = rest[0].start if rest else None
        if following is None or following <= (position or 0):
            return values
        position = following
    raise Unreachable(f"{name} did not come to the end of {attribute} of one entry.")
