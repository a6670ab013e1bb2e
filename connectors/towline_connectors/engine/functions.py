"""The functions that expressions may call, beside those of JMESPath. None does I/O; null in gives null out.

FUNCTIONS maps a name to (function, least number of arguments, most number or None).
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from towline_connectors.engine import shapes, units, values
from towline_connectors.engine.values import Mismatch

_MAC = re.compile(r"^[0-9A-Fa-f]{2}([:-]?[0-9A-Fa-f]{2}){5}$")
_WINDOWS_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
_NEVER = (0, 0x7FFFFFFFFFFFFFFF)


def ts(value: Any, pattern: Any = None) -> str | None:
    """Time as ISO 8601 in UTC, from ISO 8601, epoch seconds or milliseconds, or text in a strptime pattern."""
    if pattern is None:
        return values.time(value)
    if value is None or value == "":
        return None
    try:
        parsed = datetime.strptime(str(value), str(pattern))  # noqa: DTZ007 - a pattern without zone means UTC
    except ValueError:
        raise Mismatch(f"{values.shown(value)} is not a time like {pattern}") from None
    return values.iso(parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed)


def epoch(value: Any) -> int | None:
    """Whole seconds since 1970."""
    parsed = values.moment(value)
    return None if parsed is None else int(parsed.timestamp() // 1)


def filetime(value: Any) -> str | None:
    """Time from Windows' count of 100 ns since 1601; 0 and the largest value mean never."""
    number = values.integer(value)
    if number is None or number in _NEVER or number < 0:
        return None
    try:
        return values.iso(_WINDOWS_EPOCH + timedelta(microseconds=number // 10))
    except OverflowError:
        raise Mismatch(f"{values.shown(value)} is not a Windows time") from None


def generalized_time(value: Any) -> str | None:
    """Time from LDAP's YYYYMMDDHHMMSS[.f]Z (RFC 4517)."""
    given = values.text(value)
    if given is None:
        return None
    match = re.match(r"^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)?(\d\d)?(?:[.,](\d+))?(Z|[+-]\d\d(?:\d\d)?)$", given)
    if match is None:
        raise Mismatch(f"{values.shown(given)} is not a generalized time")
    year, month, day, hour, minute, second, fraction, zone = match.groups()
    offset = "+00:00" if zone == "Z" else f"{zone[:3]}:{zone[3:] or '00'}"
    micro = (fraction or "").ljust(6, "0")[:6]
    stamp = f"{year}-{month}-{day}T{hour}:{minute or '00'}:{second or '00'}.{micro}{offset}"
    try:
        return values.iso(datetime.fromisoformat(stamp))
    except ValueError:
        raise Mismatch(f"{values.shown(given)} is not a generalized time") from None


def bool_(value: Any, *truths: Any) -> bool | None:
    """true or false from JSON booleans, 0/1, and words; with more arguments: whether it equals one of them."""
    if truths:
        return None if value is None else value in truths
    return values.boolean(value)


def lower(value: Any) -> str | None:
    given = values.text(value)
    return None if given is None else given.lower()


def upper(value: Any) -> str | None:
    given = values.text(value)
    return None if given is None else given.upper()


def _flat(arguments: tuple[Any, ...]) -> list[str]:
    found: list[str] = []
    for argument in arguments:
        if isinstance(argument, list):
            found.extend(_flat(tuple(argument)))
        elif isinstance(argument, str):
            found.extend(argument.replace(",", " ").split())
        elif isinstance(argument, bytes):
            found.extend(argument.decode("ascii", "replace").split())
    return found


def ips(*arguments: Any) -> list[str] | None:
    """All IP addresses in texts and lists of them, in canonical form, each once; what is none is left out."""
    found: dict[str, None] = {}
    for part in _flat(arguments):
        try:
            found[str(ipaddress.ip_address(part.split("%", 1)[0].split("/", 1)[0]))] = None
        except ValueError:
            continue
    return list(found) or None


def macs(*arguments: Any) -> list[str] | None:
    """All MAC addresses as 00:11:22:aa:bb:cc, each once; what is none is left out."""
    found: dict[str, None] = {}
    for part in _flat(arguments):
        if _MAC.match(part):
            digits = part.replace(":", "").replace("-", "").lower()
            found[":".join(digits[i : i + 2] for i in range(0, 12, 2))] = None
    return list(found) or None


def sha(*arguments: Any) -> str | None:
    """A stable key of several values: 32 hex digits of SHA-256. Null if all are null."""
    if all(argument is None for argument in arguments):
        return None
    parts = ["" if a is None else values.text(a) or "" for a in arguments]
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:32]


def first(*arguments: Any) -> Any:
    """The first argument that is neither null nor empty; of a list its first such item."""
    for argument in arguments:
        if isinstance(argument, list):
            argument = first(*argument)
        if argument is not None and argument != "" and argument != {}:
            return argument
    return None


def guid(value: Any) -> str | None:
    """A GUID as text from Active Directory's 16 bytes (little-endian), their Base64, or its text."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            bare = value.strip("{}")
            if len(bare) == 36:
                return str(UUID(bare))
            value = base64.b64decode(bare, validate=True)
        if not isinstance(value, bytes):
            raise TypeError
        return str(UUID(bytes_le=value))
    except (ValueError, TypeError):
        raise Mismatch(f"{values.shown(value)} is not a GUID") from None


def sid(value: Any) -> str | None:
    """A Windows security identifier as S-1-5-… from its bytes, their Base64, or its text."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str):
            if value.upper().startswith("S-1-"):
                return value.upper()
            value = base64.b64decode(value, validate=True)
        count = value[1]
        if len(value) != 8 + 4 * count:
            raise ValueError
        authority = int.from_bytes(value[2:8], "big")
        parts = [int.from_bytes(value[8 + 4 * i : 12 + 4 * i], "little") for i in range(count)]
    except (ValueError, TypeError, IndexError):
        raise Mismatch(f"{values.shown(value)} is not a security identifier") from None
    return "-".join(["S", str(value[0]), str(authority), *map(str, parts)])


def bitand(value: Any, mask: Any) -> bool | None:
    """Whether any bit of `mask` is set in `value` (userAccountControl and the like)."""
    left, right = values.integer(value), values.integer(mask)
    return None if left is None or right is None else bool(left & right)


def split(value: Any, separator: Any = None) -> list[str] | None:
    """Parts of a text, trimmed, empty ones left out; without separator at white space."""
    given = values.text(value)
    if given is None:
        return None
    return [part.strip() for part in given.split(separator) if part.strip()] or None


def replace(value: Any, old: Any, new: Any) -> str | None:
    given = values.text(value)
    return None if given is None else given.replace(str(old), str(new))


def trim(value: Any) -> str | None:
    given = values.text(value)
    return None if given is None else given.strip() or None


def substring(value: Any, start: Any, end: Any = None) -> str | None:
    given = values.text(value)
    return None if given is None else given[values.integer(start) : values.integer(end)]


def match(value: Any, pattern: Any) -> str | None:
    """The first group (or all) of a regular expression's first match in the first 10,000 characters."""
    given = values.text(value)
    found = None if given is None else re.search(str(pattern), given[:10000])
    return None if found is None else found.group(1 if found.re.groups else 0)


def get(container: Any, key: Any, fallback: Any = None) -> Any:
    """The member of an object whose name is computed; `fallback` if there is none."""
    found = container.get(str(key)) if isinstance(container, dict) else None
    return fallback if found is None else found


def nested(container: Any, *names: Any) -> list[dict[str, Any]] | None:
    """Each innermost item below the named members, together with what it lies in: nested(@, 'a', 'b') gives
    {a: …, b: …} for each item of each a's b. Lists are gone through, null members left out."""
    found: list[tuple[Any, dict[str, Any]]] = [(container, {})]
    for name in names:
        deeper: list[tuple[Any, dict[str, Any]]] = []
        for holder, above in found:
            members = holder.get(str(name)) if isinstance(holder, dict) else None
            items = members if isinstance(members, list) else [members]
            deeper += [(item, {**above, str(name): item}) for item in items if item is not None]
        found = deeper
    return [path for _, path in found] or None


def default(value: Any, fallback: Any) -> Any:
    """`fallback` for null and empty text; unlike || it keeps false and empty lists."""
    return fallback if value is None or value == "" else value


def contains(container: Any, item: Any) -> bool:
    if isinstance(container, str):
        return isinstance(item, str) and item in container
    return item in container if isinstance(container, list) else False


def starts_with(value: Any, prefix: Any) -> bool:
    return isinstance(value, str) and isinstance(prefix, str) and value.startswith(prefix)


def ends_with(value: Any, suffix: Any) -> bool:
    return isinstance(value, str) and isinstance(suffix, str) and value.endswith(suffix)


def join(separator: Any, parts: Any) -> str | None:
    """Texts joined; null if the list or one of its items is null, so that half a key is no key."""
    if parts is None:
        return None
    if not isinstance(parts, list):
        raise Mismatch("join needs a separator and a list")
    found = [values.text(part) for part in parts]
    return None if None in found else str(separator).join(part or "" for part in found)


def length(value: Any) -> int | None:
    return len(value) if isinstance(value, (str, list, dict)) else None


def multiply(value: Any, factor: Any) -> float | None:
    """For units: percent to fraction, kilobytes to bytes."""
    left, right = values.number(value), values.number(factor)
    return None if left is None or right is None else left * right


def collect(value: Any, name: Any) -> list[Any] | None:
    """All members of that name at any depth, in their order: the texts of a rich text document, for instance."""
    found: list[Any] = []
    left = [value]
    while left:
        each = left.pop()
        if isinstance(each, list):
            left.extend(reversed(each))
        elif isinstance(each, dict):
            member = each.get(str(name))
            if member is not None and not isinstance(member, (dict, list)):
                found.append(member)
            left.extend(reversed([v for v in each.values() if isinstance(v, (dict, list))]))
    return found or None


def offsets(total: Any, size: Any) -> list[int] | None:
    """Where parts of so many records each begin: offsets(250, 100) gives 0, 100 and 200. At most 100,000 parts."""
    count, step = values.integer(total), values.integer(size)
    if count is None or step is None:
        return None
    if step < 1 or count > 100_000 * step:
        raise values.Mismatch("offsets: so many parts cannot be fetched")
    return list(range(0, max(count, 0), step))


Function = tuple[Callable[..., Any], int, int | None]

FUNCTIONS: dict[str, Function] = {
    "ts": (ts, 1, 2),
    "epoch": (epoch, 1, 1),
    "filetime": (filetime, 1, 1),
    "generalized_time": (generalized_time, 1, 1),
    "int": (values.integer, 1, 1),
    "float": (values.number, 1, 1),
    "str": (values.text, 1, 1),
    "bool": (bool_, 1, None),
    "texts": (values.texts, 1, 1),
    "lower": (lower, 1, 1),
    "upper": (upper, 1, 1),
    "trim": (trim, 1, 1),
    "ips": (ips, 1, None),
    "macs": (macs, 1, None),
    "sha": (sha, 1, None),
    "first": (first, 1, None),
    "guid": (guid, 1, 1),
    "sid": (sid, 1, 1),
    "bitand": (bitand, 2, 2),
    "split": (split, 1, 2),
    "replace": (replace, 3, 3),
    "substring": (substring, 2, 3),
    "match": (match, 2, 2),
    "get": (get, 2, 3),
    "nested": (nested, 2, None),
    "default": (default, 2, 2),
    "contains": (contains, 2, 2),
    "starts_with": (starts_with, 2, 2),
    "ends_with": (ends_with, 2, 2),
    "join": (join, 2, 2),
    "length": (length, 1, 1),
    "multiply": (multiply, 2, 2),
    "collect": (collect, 2, 2),
    "offsets": (offsets, 2, 2),
    "scale": (units.scale, 2, 3),
    "bytes": (units.bytes_, 1, 1),
    "seconds": (units.seconds, 1, 1),
    "days_until": (units.days_until, 1, 1),
    "in_days": (units.in_days, 1, 1),
    "date": (units.date, 2, 2),
    "epoch_ms": (units.epoch_ms, 1, 1),
    "add": (units.add, 2, None),
    "list": (shapes.list_, 1, 1),
    "when": (shapes.when, 2, 3),
    "entries": (shapes.entries, 1, 1),
    "unique": (shapes.unique, 1, 1),
    "parse_json": (shapes.parse_json, 1, 1),
}
