"""From an answer's class to an error in words: what happened, to what, and what to do."""

from __future__ import annotations

from typing import NoReturn
from urllib.parse import urlsplit

from towline.api.http import ErrorClass, ErrorRule
from towline_connectors.engine import expressions, interpolate
from towline_connectors.engine.classify import Classifier
from towline_connectors.engine.decode import decode_json
from towline_connectors.engine.errors import (
    ConfigInvalid,
    CredentialsRejected,
    CursorLost,
    DuplicateJob,
    EngineError,
    JobLost,
    PermissionDenied,
    PolicyViolation,
    RateLimited,
    SkipStream,
    Unreachable,
)
from towline_connectors.engine.http import HttpAnswer
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.values import Mismatch


def refuse(
    class_: ErrorClass,
    rule: ErrorRule | None,
    answer: HttpAnswer,
    call: tuple[str, str, Scope],
    classifier: Classifier,
) -> NoReturn:
    """Raise what an answer of this class means. `call` is method, path as the manifest writes it, and scope."""
    method, shown, scope = call
    host = urlsplit(answer.url).hostname or ""
    status = answer.status
    what = f"{host} answered {method} {shown} with {status}"
    hint = _hint(rule, scope)
    match class_:
        case "Auth":
            raise CredentialsRejected(
                f"{host} rejects the credentials ({status}){hint or '; check the keys in the Secret.'}", status=status
            )
        case "Permission":
            needs = scope.get("stream", {}).get("permission")
            cure = hint or (f"; grant {needs}." if needs else "; grant the account the right to read it.")
            raise PermissionDenied(f"{host} denies {method} {shown} ({status}){cure}", status=status)
        case "RateLimited":
            raise RateLimited(
                f"{host} allows no more requests for now ({status}){hint or '.'}",
                retry_after=classifier.wait(answer, rule),
                status=status,
            )
        case "Transient":
            raise Unreachable(
                f"{what}{hint or '; it may be overloaded or under maintenance.'}",
                retry_after=classifier.wait(answer, rule, limited=False) if rule is None or rule.wait else None,
                status=status,
            )
        case "Policy":
            raise PolicyViolation(f"{what}{hint or '; a rule at the vendor forbids it, ask its administrator.'}")
        case "SkipStream":
            raise SkipStream(f"{what}{hint}".rstrip("."))
        case "JobLost":
            raise JobLost(what)
        case "CursorLost":
            raise CursorLost(what)
        case "DuplicateJob":
            raise DuplicateJob(_job_id(answer, rule, host))
        case _:
            cure = hint or ("; check the address and the API version." if status == 404 else "; check spec.config.")
            raise ConfigInvalid(f"{what}{cure}", status=status)


def _hint(rule: ErrorRule | None, scope: Scope) -> str:
    if rule is None or not rule.hint:
        return ""
    hint = interpolate.fill(rule.hint, {**scope, "secret": None, "session": {}})
    return f"; {hint.rstrip('.')}."


def _job_id(answer: HttpAnswer, rule: ErrorRule | None, host: str) -> str | None:
    if rule is None or not rule.job_id:
        return None
    try:
        found = expressions.compile_expression(rule.job_id)(decode_json(answer.body, host, ""))
    except (EngineError, Mismatch):
        return None
    return None if found is None else str(found)
