"""Functions of expressions about numbers, units and time. Null in gives null out."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

from towline_connectors.engine import values
from towline_connectors.engine.values import Mismatch

_SIZE = re.compile(r"^\s*([0-9]+(?:[.,][0-9]+)?)\s*([kmgtp]?)(i?)(b|bytes?)?\s*$", re.IGNORECASE)
_ISO = re.compile(r"^P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.\d+)?S)?)?$")
_SHORT = re.compile(r"(\d+)\s*([wdhms])")
_SECONDS = {"w": 604800, "d": 86400, "h": 3600, "m": 60, "s": 1}


def scale(value: Any, top: Any, to: Any = 100) -> float | None:
    """A score from 0 to `top` as one from 0 to `to`; what lies beyond is cut: scale(vpr, 10) gives 0 to 100."""
    number, highest, wanted = values.number(value), values.number(top), values.number(to)
    if number is None or not highest or wanted is None:
        return None
    return round(min(max(number / highest, 0.0), 1.0) * wanted, 6)


def bytes_(value: Any) -> int | None:
    """Bytes of a text with a unit: 1.5 GiB; kB, MB, GB are powers of 1,000, K, KiB, MiB … of 1,024."""
    if value is None or value == "" or isinstance(value, (int, float)):
        return values.integer(value)
    found = _SIZE.match(str(value))
    if found is None:
        raise Mismatch(f"{values.shown(value)} is not a number of bytes")
    number, prefix, binary, unit = found.groups()
    base = 1000 if unit and not binary else 1024
    return values.integer(round(float(number.replace(",", ".")) * base ** (" kmgtp".index(prefix.lower() or " "))))


def seconds(value: Any) -> int | None:
    """Seconds of a length of time: ISO 8601 as PT1H30M, short as 1d12h, or a number of seconds."""
    if value is None or value == "" or isinstance(value, (int, float)):
        return values.integer(value)
    given = str(value).strip()
    iso = _ISO.match(given.upper())
    if iso and any(iso.groups()):
        return sum(int(part or 0) * size for part, size in zip(iso.groups(), (604800, 86400, 3600, 60, 1), strict=True))
    parts = _SHORT.findall(given.lower())
    if parts and not _SHORT.sub("", given.lower()).strip():
        return sum(int(number) * _SECONDS[unit] for number, unit in parts)
    return values.integer(given)


def days_until(value: Any) -> int | None:
    """Whole days from today (UTC) to a time; negative when it is over."""
    moment = values.moment(value)
    return None if moment is None else (moment.astimezone(UTC).date() - datetime.now(UTC).date()).days


def in_days(value: Any) -> str | None:
    """The day that is so many days from today (UTC), where a system tells days that are left instead of a time."""
    days = values.integer(value)
    if days is None:
        return None
    try:
        today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        return values.iso(today + timedelta(days=days))
    except OverflowError:
        raise Mismatch(f"{values.shown(value)} days are too many") from None


def date(value: Any, pattern: Any) -> str | None:
    """A time as text in a strftime pattern, in UTC: for requests."""
    moment = values.moment(value)
    return None if moment is None else moment.astimezone(UTC).strftime(str(pattern))


def epoch_ms(value: Any) -> int | None:
    """Milliseconds since 1970."""
    moment = values.moment(value)
    return None if moment is None else round(moment.timestamp() * 1000)


def add(*arguments: Any) -> int | float | None:
    """The sum of numbers; null if one of them is."""
    numbers = [values.number(argument) for argument in arguments]
    if None in numbers:
        return None
    total = sum((number or 0.0 for number in numbers), 0.0)
    return int(total) if total.is_integer() and abs(total) < 2**53 else total
