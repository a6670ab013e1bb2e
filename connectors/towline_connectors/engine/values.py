"""Typed values: what the entities' columns take, from whatever a vendor sends.

Each converter takes any JSON value (LDAP adds bytes), gives the column's type or None, and raises `Mismatch`
with the reason when the value does not fit. Empty text counts as absent: vendors write it for null.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

INT_MIN, INT_MAX = -(2**63), 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FRACTION = re.compile(r"^(.{19}\.\d{6})\d+(.*)$")
_OFFSET = re.compile(r"([+-]\d{2})(\d{2})$")
_TRUE = frozenset(("true", "1", "yes", "y", "on"))
_FALSE = frozenset(("false", "0", "no", "n", "off"))


class Mismatch(ValueError):  # noqa: N818
    """A value does not fit its column; the text says why, shortly."""


def shown(value: Any) -> str:
    """A value in a message: short, one line."""
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def text(value: Any) -> str | None:
    if value.__class__ is str:
        return value or None
    if value is None:
        return None
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode() or None
        except UnicodeDecodeError:
            raise Mismatch("holds bytes that are not text") from None
    raise Mismatch(f"{shown(value)} is not text")


def integer(value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, bool):
            number = int(value)
        elif isinstance(value, int):
            number = value
        elif (isinstance(value, float) and value.is_integer()) or (isinstance(value, (str, bytes)) and len(value) < 40):
            number = int(value)
        else:
            raise Mismatch(f"{shown(value)} is not an integer")
    except ValueError:
        raise Mismatch(f"{shown(value)} is not an integer") from None
    if not INT_MIN <= number <= INT_MAX:
        raise Mismatch(f"{shown(value)} does not fit 64 bits")
    return number


def number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, (int, float)) or (isinstance(value, (str, bytes)) and len(value) < 400):
            result = float(value)
            if result - result == 0.0:  # neither infinite nor NaN
                return result
    except (ValueError, OverflowError):
        pass
    raise Mismatch(f"{shown(value)} is not a number")


def boolean(value: Any) -> bool | None:
    if value is True or value is False:
        return value
    if value is None or value == "":
        return None
    word = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    word = word.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Mismatch(f"{shown(value)} is not true or false")


def moment(value: Any) -> datetime | None:
    """A point in time from ISO 8601 text (UTC when it names no zone) or epoch seconds or milliseconds."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return _from_epoch(value)
        if isinstance(value, bytes):
            value = value.decode("ascii")
        if isinstance(value, str):
            return _from_text(value.strip())
    except (ValueError, OverflowError):
        pass
    raise Mismatch(f"{shown(value)} is not a time")


def _from_epoch(value: float) -> datetime:
    seconds = value / 1000 if abs(value) >= 1e11 else value  # 1e11 s is the year 5138, 1e11 ms is 1973
    return _EPOCH + timedelta(seconds=seconds)


def _from_text(value: str) -> datetime:
    if value.isdigit() and len(value) > 8:
        return _from_epoch(int(value[:18]))
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        cut = _FRACTION.sub(r"\1\2", value)  # .NET writes seven digits, Go up to nine
        parsed = datetime.fromisoformat(_OFFSET.sub(r"\1:\2", cut.removesuffix(" UTC")))
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def iso(value: datetime) -> str:
    """ISO 8601 in UTC with exactly three digits of fraction, so that text sorts as time does."""
    return f"{value.astimezone(UTC).isoformat(timespec='milliseconds')[:23]}Z"


def time(value: Any) -> str | None:
    if value.__class__ is str and len(value) == 24 and value[23] == "Z" and value[10] == "T" and value[19] == ".":
        try:
            datetime.fromisoformat(value)
        except ValueError:
            raise Mismatch(f"{shown(value)} is not a time") from None
        return value
    parsed = moment(value)
    return None if parsed is None else iso(parsed)


def texts(value: Any) -> list[str] | None:
    """A list of texts; a single value is a list of one; nulls and empty texts are left out."""
    if value is None or value == "":
        return None
    if value.__class__ is list:
        found = [item if item.__class__ is str else text(item) for item in value]
        return [item for item in found if item] or None
    return [text(value) or ""]


def json(value: Any) -> str | None:
    """JSON text."""
    if value is None:
        return None
    try:
        return orjson.dumps(value, default=plain).decode()
    except (orjson.JSONEncodeError, UnicodeDecodeError):
        raise Mismatch("cannot be written as JSON") from None


def plain(value: Any) -> Any:
    """Bytes of directories as text, or as hex digits, for orjson. Raises TypeError for anything else."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value.hex()
    raise TypeError


CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "text": text,
    "integer": integer,
    "number": number,
    "boolean": boolean,
    "time": time,
    "texts": texts,
    "json": json,
    "ref": text,
}
"""By the type of the entity's field."""
