"""What LDAP entries become: records for expressions, raw JSON for the destination, and ranges.

A manifest names the attributes that it wants. `mail` gives the first value (or nothing), `member[]` and every range
attribute always a list, empty if the entry has none; so an expression sees the same shape whatever the server holds.
The raw JSON keeps all values. Text is text; what is binary by its definition, or no UTF-8, is bytes (Base64 in raw).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

# Attributes whose values are bytes although they might happen to be valid UTF-8.
BINARY = frozenset(
    (
        "objectguid",
        "objectsid",
        "sidhistory",
        "ms-ds-consistencyguid",
        "msexchmailboxguid",
        "ntsecuritydescriptor",
        "usercertificate",
        "thumbnailphoto",
        "jpegphoto",
        "userpassword",
        "guid",
        "invocationid",
    )
)
_RANGE = re.compile(r"^(?P<name>[^;]+);range=(?P<start>[0-9]+)-(?P<end>[0-9]+|\*)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Wanted:
    """The attributes that a manifest asks for."""

    request: tuple[str, ...]  # as sent to the server
    spelling: Mapping[str, str]  # lower case -> as in the manifest
    lists: frozenset[str]  # the manifest's spelling of those that are always lists


@dataclass(frozen=True, slots=True)
class Rest:
    """A range attribute of which the server has more to give, from value number `start` on."""

    attribute: str
    start: int


def wanted(attributes: Sequence[str], range_attributes: Sequence[str] | None) -> Wanted:
    names = [*(name.removesuffix("[]") for name in attributes), *(range_attributes or ())]
    lists = {name.removesuffix("[]") for name in attributes if name.endswith("[]")} | set(range_attributes or ())
    return Wanted(tuple(dict.fromkeys(names)), {name.lower(): name for name in names}, frozenset(lists))


def decode(name: str, value: bytes) -> str | bytes:
    """One value: text where the attribute is text."""
    if name.lower() in BINARY:
        return value
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def collect(
    dn: str, raw_attributes: Mapping[str, Sequence[bytes]], want: Wanted
) -> tuple[dict[str, list[Any]], list[Rest]]:
    """All values of an entry by the manifest's spelling, and the range attributes that have more."""
    found: dict[str, list[Any]] = {}
    rest: list[Rest] = []
    for given, values in raw_attributes.items():
        base, more = parse_range(given)
        name = want.spelling.get(base.partition(";")[0].lower())
        if name is None:
            continue
        found.setdefault(name, []).extend(decode(name, value) for value in values)
        if more is not None:
            rest.append(Rest(name, more))
    return found, rest


def parse_range(given: str) -> tuple[str, int | None]:
    """`member;range=0-1499` -> (member, 1500); (member, None) when nothing follows or it is no range."""
    match = _RANGE.match(given)
    if match is None:
        return given, None
    return match["name"], None if match["end"] == "*" else int(match["end"]) + 1


def record(dn: str, found: Mapping[str, list[Any]], want: Wanted) -> dict[str, Any]:
    """What expressions see."""
    shaped: dict[str, Any] = {"dn": dn}
    for name in want.lists:
        shaped[name] = found.get(name, [])
    for name, values in found.items():
        if name not in want.lists and values:
            shaped[name] = values[0]
    return shaped


def raw(dn: str, found: Mapping[str, list[Any]]) -> bytes:
    """JSON of the whole entry: every value, a list where there are several."""
    entry: dict[str, Any] = {"dn": dn}
    for name, values in found.items():
        entry[name] = values[0] if len(values) == 1 else values
    return orjson.dumps(entry, default=_base64)


def _base64(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"no JSON for {type(value).__name__}")
