"""Functions of expressions about lists and objects."""

from __future__ import annotations

from typing import Any

import orjson

from towline_connectors.engine import values
from towline_connectors.engine.values import Mismatch

MAX_EMBEDDED = 16 << 20  # characters of JSON within a text


def list_(value: Any) -> list[Any] | None:
    """A list of one for a single value: XML and some vendors leave out the list where there is one of a thing."""
    if value is None:
        return None
    return value if isinstance(value, list) else [value]


def when(condition: Any, then: Any, otherwise: Any = None) -> Any:
    """`then` if the condition is true (0 is), else `otherwise`; unlike && and || it gives false and empty values."""
    truth = bool(condition) or (isinstance(condition, (int, float)) and not isinstance(condition, bool))
    return then if truth else otherwise


def entries(value: Any) -> list[dict[str, Any]] | None:
    """The members of an object as [{key, value}], for forEach."""
    return [{"key": key, "value": member} for key, member in value.items()] if isinstance(value, dict) else None


def unique(value: Any) -> list[Any] | None:
    """A list with each item once, without nulls."""
    if not isinstance(value, list):
        return None
    found: list[Any] = []
    seen: set[bytes] = set()
    for item in value:
        mark = orjson.dumps(item, default=str, option=orjson.OPT_SORT_KEYS)
        if item is not None and mark not in seen:
            seen.add(mark)
            found.append(item)
    return found or None


def parse_json(value: Any) -> Any:
    """The value of JSON that a vendor put into a text; what is no text stays as it is."""
    if not isinstance(value, str) or value == "":
        return None if value == "" else value
    try:
        if len(value) <= MAX_EMBEDDED:
            return orjson.loads(value)
    except orjson.JSONDecodeError:
        pass
    raise Mismatch(f"{values.shown(value)} is not JSON")
