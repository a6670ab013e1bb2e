"""From an answer to an error class: the manifest's rules in order, then what the HTTP status means by itself."""

from __future__ import annotations

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

from towline.api.http import BodyMatch, ErrorClass, ErrorRule, ErrorWhen
from towline_connectors.engine import decode, expressions
from towline_connectors.engine.errors import EngineError
from towline_connectors.engine.http import HttpAnswer
from towline_connectors.engine.values import Mismatch
from towline_connectors.engine.waits import DEFAULT, Wait

TOKEN = "Token"  # noqa: S105 - the phase of log-ins and requests for a token

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
        self._rules = [(rule, _body_test(rule.when.body)) for rule in rules or []]
        self._waits = {id(rule): [Wait(source) for source in rule.wait] for rule in rules or [] if rule.wait}
        self._default = [Wait(source) for source in DEFAULT]
        self._now = now

    def judges(self, status: int) -> bool:
        """Whether a rule may speak of an answer with this good status, so that its body has to be looked at."""
        return any(rule.when.status and status in rule.when.status for rule, _ in self._rules)

    def rule(self, answer: HttpAnswer, path: str, phase: str | None) -> ErrorRule | None:
        """The first rule that fits."""
        for rule, body in self._rules:
            if _matches(rule.when, answer, path, phase) and (body is None or body(answer)):
                return rule
        return None

    def classify(self, answer: HttpAnswer, path: str, phase: str | None) -> tuple[ErrorClass | None, ErrorRule | None]:
        """(None, None) for a good answer."""
        rule = self.rule(answer, path, phase)
        if rule is not None:
            return rule.class_, rule
        if 200 <= answer.status < 300:
            return None, None
        if answer.status >= 500:
            return "Transient", None
        return _BY_STATUS.get(answer.status, "Permanent"), None

    def wait(self, answer: HttpAnswer, rule: ErrorRule | None, *, limited: bool = True) -> float | None:
        """Seconds that the vendor asks to wait; None if it does not say. Where the answer is not about a limit, the
        headers that tell when the limit begins anew say nothing."""
        default = self._default if limited else self._default[:1]
        for source in self._waits.get(id(rule), default) if rule is not None else default:
            found = source.find(answer.headers, answer.body, self._now())
            if found is not None:
                return found
        return None


def _matches(when: ErrorWhen, answer: HttpAnswer, path: str, phase: str | None) -> bool:
    if when.status is not None:
        if answer.status not in when.status:
            return False
    elif answer.status < 400:
        return False
    if (when.phase is not None or phase == TOKEN) and phase not in (when.phase or ()):
        return False
    if when.path is not None and not (path == when.path or fnmatchcase(path, when.path)):
        return False
    return all(
        fnmatchcase(answer.headers.get(name.lower(), ""), wanted) for name, wanted in (when.header or {}).items()
    )


def _body_test(body: BodyMatch | None) -> Callable[[HttpAnswer], bool] | None:
    if body is None:
        return None
    read = _text if body.path is None else _member(body.path)

    def test(answer: HttpAnswer) -> bool:
        found = read(answer)
        if found is None:
            return False
        if body.equals is not None:
            return str(found).lower() == str(body.equals).lower()
        if body.contains is not None:
            return body.contains.lower() in str(found).lower()
        return expressions.truthy(found)

    return test


def _text(answer: HttpAnswer) -> str:
    return answer.body.decode("utf-8", "replace")


def _member(path: str) -> Callable[[HttpAnswer], Any]:
    compiled = expressions.compile_expression(path)

    def read(answer: HttpAnswer) -> Any:
        try:
            return compiled(decode.document(answer.body))
        except (EngineError, Mismatch):
            return None

    return read
