"""A request of a manifest, carried through: budget, credentials, errors, waiting, retrying."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import orjson

from towline.api.base import seconds
from towline.api.http import ErrorRule, Http, Request
from towline_connectors.engine import expressions, interpolate
from towline_connectors.engine.auth import authenticator
from towline_connectors.engine.budget import Budgets
from towline_connectors.engine.classify import Classifier
from towline_connectors.engine.decode import decode, decode_json
from towline_connectors.engine.errors import (
    ConfigInvalid,
    CredentialsRejected,
    DuplicateJob,
    EngineError,
    JobLost,
    PermissionDenied,
    RateLimited,
    SkipStream,
    Unreachable,
)
from towline_connectors.engine.http import Client, HttpAnswer, HttpRequest
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.source import Setup
from towline_connectors.engine.values import Mismatch

DEFAULT_ATTEMPTS = 5
DEFAULT_MAX_ELAPSED = 900.0
SPARE_SECONDS = 5.0  # a wait that ends later than this before the deadline is not begun


@dataclass(frozen=True, slots=True)
class Call:
    """One request ready to send. `shown` is the path as the manifest writes it."""

    method: str
    url: str
    shown: str
    headers: dict[str, str]
    body: bytes | None = None
    budget: str | None = None
    phase: str | None = None
    form: str = "JSON"
    accept: frozenset[int] = frozenset()  # statuses that are good whatever the rules say
    scope: Scope | None = None  # for the hints of error rules


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer, decoded. `empty` when a rule of class Empty matched: there is nothing."""

    value: Any
    headers: Any
    url: str
    empty: bool = False


class Caller:
    """All requests of one run to one system."""

    def __init__(self, http: Http, setup: Setup, base_scope: Scope, client: Client) -> None:
        self.base_url = setup.text(http.base_url).rstrip("/")
        self.client = client
        self._setup = setup
        self._scope = base_scope
        self._headers = dict(http.headers or {})
        self._budgets = Budgets(http.budgets)
        self._classifier = Classifier(http.errors, time.time)
        self._auth = authenticator(http.auth, setup.text, self._send_token)
        retry = http.retry
        backoff = retry.backoff if retry else None
        self._attempts = (retry.attempts if retry else None) or DEFAULT_ATTEMPTS
        self._max_elapsed = float(seconds(retry.max_elapsed)) if retry and retry.max_elapsed else DEFAULT_MAX_ELAPSED
        self._initial = float(seconds(backoff.initial)) if backoff and backoff.initial else 1.0
        self._cap = float(seconds(backoff.cap)) if backoff and backoff.cap else 60.0
        self._jitter = not (backoff and backoff.jitter == "None")

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    def call(
        self, request: Request, scope: Scope, *, budget: str | None, phase: str | None, form: str = "JSON"
    ) -> Call:
        """A manifest's request with its references filled in."""
        method = request.method or ("POST" if request.body is not None or phase == "Create" else "GET")
        query = interpolate.evaluate(dict(request.query or {}), scope)
        body = None
        headers = {**self._headers, **(request.headers or {})}
        headers = {name: interpolate.fill(value, scope) for name, value in headers.items()}
        if request.body is not None:
            body = orjson.dumps(interpolate.evaluate(request.body, scope))
            headers.setdefault("content-type", "application/json")
        return Call(
            method=method,
            url=self.url(request.path, scope, query),
            shown=request.path.partition("?")[0],
            headers=headers,
            body=body,
            budget=budget,
            phase=phase,
            form=form,
            scope=scope,
        )

    def url(self, path: str, scope: Scope, query: dict[str, Any] | None = None) -> str:
        filled = interpolate.fill(path, scope, interpolate.path_part)
        url = filled if "://" in filled.partition("?")[0] else f"{self.base_url}/{filled.lstrip('/')}"
        return with_query(url, query or {})

    async def send(self, call: Call) -> Reply:
        """Send until there is a good answer, as the retry rules allow. Raises EngineError and its like."""
        begun = time.monotonic()
        attempt = 0
        while True:
            attempt += 1
            try:
                answer = await self._once(call)
                reply = self._judge(answer, call)
                if reply is not None:
                    return reply
            except RateLimited as error:
                pause = error.retry_after if error.retry_after is not None else self._pause(attempt)
                await self._wait(pause, error, begun, attempt, told=error.retry_after is not None)
            except Unreachable as error:
                told = error.retry_after is not None
                pause = error.retry_after if error.retry_after is not None else self._pause(attempt)
                await self._wait(pause, error, begun, attempt, told=told)

    async def _once(self, call: Call) -> HttpAnswer:
        limiter = self._budgets.limiter(call.method, call.shown, call.budget)
        async with limiter.request():
            request = HttpRequest(call.method, call.url, dict(call.headers), call.body, call.shown)
            self.client.check_host(call.url)  # before a token is fetched for it
            await self._auth.apply(request)
            return await self.client.send(request)

    async def _send_token(self, request: HttpRequest) -> HttpAnswer:
        return await self.client.send(request)

    def _judge(self, answer: HttpAnswer, call: Call) -> Reply | None:
        """The reply; None to send again at once. Raises by the answer's class."""
        if answer.status in call.accept:
            return Reply(None, answer.headers, answer.url)
        class_, rule = self._classifier.classify(answer, call.shown, call.phase)
        if class_ is None:
            return Reply(decode(answer.body, call.form, self.host, call.shown), answer.headers, answer.url)
        what = f"{self.host} answered {call.method} {call.shown} with {answer.status}"
        hint = self._hint(rule, call)
        if class_ in ("Empty", "SkipRecord"):
            return Reply(None, answer.headers, answer.url, empty=True)
        if class_ == "Auth":
            if self._auth.refresh():
                return None
            raise CredentialsRejected(
                f"{self.host} rejects the credentials ({answer.status}){hint or '; check the keys in the Secret.'}",
                status=answer.status,
            )
        if class_ == "Permission":
            needs = (call.scope or {}).get("stream", {}).get("permission")
            cure = hint or (f"; grant {needs}." if needs else "; grant the account the right to read it.")
            raise PermissionDenied(
                f"{self.host} denies {call.method} {call.shown} ({answer.status}){cure}", status=answer.status
            )
        if class_ == "RateLimited":
            wait = self._classifier.wait(answer, rule)
            raise RateLimited(
                f"{self.host} allows no more requests for now ({answer.status}).",
                retry_after=wait,
                status=answer.status,
            )
        if class_ == "Transient":
            wait = self._classifier.wait(answer, rule)
            raise Unreachable(
                f"{what}{hint or '; it may be overloaded or under maintenance.'}",
                retry_after=wait,
                status=answer.status,
            )
        if class_ == "SkipStream":
            raise SkipStream(f"{what}{hint or ''}".rstrip("."))
        if class_ == "JobLost":
            raise JobLost(what)
        if class_ == "DuplicateJob":
            raise DuplicateJob(self._job_id(answer, rule))
        cure = hint or ("; check the address and the API version." if answer.status == 404 else "; check spec.config.")
        raise ConfigInvalid(f"{what}{cure}", status=answer.status)

    def _hint(self, rule: ErrorRule | None, call: Call) -> str:
        if rule is None or not rule.hint:
            return ""
        hint = interpolate.fill(rule.hint, {**(call.scope or {}), "secret": {}})
        return f"; {hint.rstrip('.')}."

    def _job_id(self, answer: HttpAnswer, rule: ErrorRule | None) -> str | None:
        if rule is None or not rule.job_id:
            return None
        try:
            found = expressions.compile_expression(rule.job_id)(decode_json(answer.body, self.host, ""))
        except (EngineError, Mismatch):
            return None
        return None if found is None else str(found)

    def _pause(self, attempt: int) -> float:
        ceiling: float = min(self._cap, self._initial * 2 ** (attempt - 1))
        return random.uniform(0, ceiling) if self._jitter else ceiling  # noqa: S311 - spreads load, guards nothing

    async def _wait(self, pause: float, error: EngineError, begun: float, attempt: int, *, told: bool) -> None:
        """Sleep, or raise the error when waiting has no point."""
        now = time.monotonic()
        too_often = attempt >= self._attempts and not (told and isinstance(error, RateLimited))
        too_long = now + pause - begun > self._max_elapsed
        too_late = now + pause > self._setup.deadline - SPARE_SECONDS
        if too_often or too_long or too_late:
            error.retry_after = pause if told or isinstance(error, RateLimited) else None
            raise error
        self._setup.progress(f"{error.message} Trying again in {pause:.0f} s.")
        await asyncio.sleep(pause)


def with_query(url: str, query: dict[str, Any]) -> str:
    """The URL with parameters added; those that it has already are replaced."""
    if not query:
        return url
    base, _, given = url.partition("?")
    kept = [
        pair for pair in given.split("&") if pair and pair.partition("=")[0] not in {quote(k, safe="") for k in query}
    ]
    added = [f"{quote(str(key), safe='')}={quote(_plain(value), safe='')}" for key, value in query.items()]
    return f"{base}?{'&'.join(kept + added)}"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return orjson.dumps(value).decode()
    return str(value)
