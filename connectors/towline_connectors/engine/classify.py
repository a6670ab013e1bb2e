"""What an answer means: the manifest's rules, first match first, then what the status says by itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from fnmatch import fnmatchcase
from typing import Any

from towline.api.base import seconds
from towline.api.http import ErrorClass, ErrorRule, ErrorWhen
from towline_connectors.engine import decode, expressions, values
from towline_connectors.engine.errors import EngineError
from towline_connectors.engine.http import HttpAnswer
from towline_connectors.engine.values import Mismatch

MAX_WAIT = 86400.0  # seconds; a vendor that asks for more is asked again tomorrow

_BY_STATUS: dict[int, ErrorClass] = {
    401: "Auth",
    403: "Permission",
    408: "Transient",
    425: "Transient",
    429: "RateLimited",
}


class Classifier:
    """The rules of a manifest, compiled. `now` is epoch seconds, for dates in Retry-After."""

    def __init__(self, rules: list[ErrorRule] | None, now: Callable[[], float]) -> None:
        self._rules = [(rule, _body_test(rule.when)) for rule in rules or []]
        self._now = now

    def classify(self, answer: HttpAnswer, path: str, phase: str | None) -> tuple[ErrorClass | None, ErrorRule | None]:
        """(None, None) for a good answer."""
        for rule, body in self._rules:
            if _matches(rule.when, answer, path, phase) and (body is None or body(answer)):
                return rule.class_, rule
        if 200 <= answer.status < 300:
            return None, None
        if answer.status >= 500:
            return "Transient", None
        return _BY_STATUS.get(answer.status, "Permanent"), None

    def wait(self, answer: HttpAnswer, rule: ErrorRule | None) -> float | None:
        """Seconds that the vendor asks to wait; None if it does not say."""
        for source in (rule.wait if rule and rule.wait else None) or ["header:Retry-After"]:
            if not source.lower().startswith("header:"):
                return float(seconds(source))
            found = self._from_header(answer.headers.get(source[7:].strip().lower()))
            if found is not None:
                return min(found, MAX_WAIT)
        return None

    def _from_header(self, value: str | None) -> float | None:
        """Retry-After's two forms, and the epoch seconds that X-RateLimit-Reset headers hold."""
        if not value:
            return None
        now = self._now()
        try:
            number = float(value)
        except ValueError:
            with contextlib.suppress(ValueError, TypeError, IndexError):
                when = parsedate_to_datetime(value)
                return max(0.0, (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() - now)
            with contextlib.suppress(Mismatch):
                moment = values.moment(value)
                return max(0.0, (moment or datetime.now(UTC)).timestamp() - now)
            return None
        if number != number or number < 0:
            return None
        if number > 1e11:
            number /= 1000
        return max(0.0, number - now) if number > 1e9 else number


def _matches(when: ErrorWhen, answer: HttpAnswer, path: str, phase: str | None) -> bool:
    if when.status is not None:
        if answer.status not in when.status:
            return False
    elif answer.status < 400:
        return False
    if when.phase is not None and phase not in when.phase:
        return False
    if when.path is not None and not (path == when.path or fnmatchcase(path, when.path)):
        return False
    return all(
        fnmatchcase(answer.headers.get(name.lower(), ""), wanted) for name, wanted in (when.header or {}).items()
    )


def _body_test(when: ErrorWhen) -> Callable[[HttpAnswer], bool] | None:
    if when.body is None:
        return None
    body = when.body
    path = expressions.compile_expression(body.path)

    def test(answer: HttpAnswer) -> bool:
        try:
            found: Any = path(decode.decode_json(answer.body, "", ""))
        except (EngineError, Mismatch):
            return False
        if body.equals is not None:
            return str(found) == str(body.equals)
        if body.contains is not None:
            return body.contains.lower() in str(found).lower()
        return expressions.truthy(found)

    return test
