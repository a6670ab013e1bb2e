"""How long a vendor asks to wait, in all the forms that vendors write it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from towline.api.base import seconds
from towline_connectors.engine import decode, expressions, values
from towline_connectors.engine.errors import EngineError
from towline_connectors.engine.values import Mismatch

MAX_WAIT = 86400.0  # seconds; a vendor that asks for more is asked again tomorrow
DEFAULT = ("header:Retry-After", "header:RateLimit-Reset", "header:X-RateLimit-Reset", "header:X-Rate-Limit-Reset")
"""Where a waiting time is looked for when no rule says."""

_WORDS = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?)\s*$", re.I)
_EPOCH_MS = 1e11
_EPOCH = 1e9


class Wait:
    """One source of a waiting time: header:NAME, header:NAME:ms, body:EXPRESSION or a duration."""

    def __init__(self, source: str) -> None:
        kind, _, rest = source.partition(":")
        self._fixed = None if kind in ("header", "body") else float(seconds(source))
        self._header = rest.removesuffix(":ms").strip().lower() if kind == "header" else None
        self._milliseconds = kind == "header" and rest.endswith(":ms")
        self._body: Callable[[Any], Any] | None = expressions.compile_expression(rest) if kind == "body" else None

    def find(self, headers: Mapping[str, str], body: bytes, now: float) -> float | None:
        """Seconds; None when the answer does not say. `now` is epoch seconds."""
        if self._fixed is not None:
            return self._fixed
        if self._header is not None:
            found: Any = headers.get(self._header)
        else:
            found = self._from_body(body)
        wait = parse(found, now, milliseconds=self._milliseconds)
        return None if wait is None else min(wait, MAX_WAIT)

    def _from_body(self, body: bytes) -> Any:
        if self._body is None:
            return None
        try:
            return self._body(decode.decode_json(body, "", ""))
        except (EngineError, Mismatch):
            return None


def parse(value: Any, now: float, *, milliseconds: bool = False) -> float | None:
    """Seconds from now: of a number of seconds or milliseconds, an epoch time in either, a date, or "2 seconds"."""
    if value is None or isinstance(value, bool) or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _from_text(str(value), now)
    if number != number or number < 0:
        return None
    if number > _EPOCH_MS:
        return max(0.0, number / 1000 - now)
    if number > _EPOCH:
        return max(0.0, number - now)
    return number / 1000 if milliseconds else number


def _from_text(text: str, now: float) -> float | None:
    if words := _WORDS.match(text):
        unit = words[2].lower()
        factor = 0.001 if unit.startswith(("ms", "milli")) else 60.0 if unit.startswith("m") else 1.0
        return float(words[1]) * factor
    with contextlib.suppress(ValueError, TypeError, IndexError):
        when = parsedate_to_datetime(text)
        return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now)
    with contextlib.suppress(Mismatch):
        moment = values.moment(text)
        return max(0.0, moment.timestamp() - now) if moment else None
    return None
