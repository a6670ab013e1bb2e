"""A log-in in one or more steps, what it gives with every request, and a log-out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson

from towline.api.auth import Auth, LoginStep, Session
from towline.api.base import seconds
from towline_connectors.engine import body, expressions, interpolate
from towline_connectors.engine.auth.base import Cached, Context, Grant, header_value, put
from towline_connectors.engine.auth.fixed import add_query, basic
from towline_connectors.engine.decode import decode_json
from towline_connectors.engine.errors import CredentialsRejected, EngineError, InvalidManifest, RateLimited, Unreachable
from towline_connectors.engine.http import HttpAnswer, HttpRequest
from towline_connectors.engine.values import Mismatch


class Login(Cached):
    """See api.auth.Session."""

    def __init__(self, auth: Auth, context: Context) -> None:
        super().__init__()
        if auth.session is None:
            raise InvalidManifest("http.auth: kind Session needs session.")
        self._session: Session = auth.session
        self._context = context
        self._cookies: dict[str, str] = {}
        for step in self._session.login:  # a key that is missing is told before anything is sent
            if step.basic:
                context.text(step.basic.username), context.text(step.basic.password)
        lifetime = self._session.lifetime
        self._life = float(seconds(lifetime)) if lifetime else None

    async def fetch(self) -> Grant:
        self._cookies = {}
        taken: dict[str, str] = {}
        for step in self._session.login:
            request = self._request(step, taken)
            answer = await self._context.send(request)
            self._judge(answer.status, urlsplit(request.url).hostname or "")
            self._cookies.update(answer.cookies)
            for name, source in (step.take or {}).items():
                found = _take(source, answer, urlsplit(request.url).hostname or "")
                if not found:
                    raise CredentialsRejected(
                        f"{urlsplit(request.url).hostname} answered the log-in without {name}; check user name and"
                        " password, and whether the account is locked."
                    )
                taken[name] = found
        return Grant(taken, self._life)

    async def apply(self, request: HttpRequest) -> None:
        session = self.session()
        headers = {n: self._context.text(v, session=session) for n, v in (self._session.headers or {}).items()}
        if self._session.cookies and self._cookies:
            headers.setdefault("cookie", "; ".join(f"{name}={value}" for name, value in self._cookies.items()))
        put(request, headers)
        query = {n: self._context.text(v, session=session) for n, v in (self._session.query or {}).items()}
        add_query(request, query)

    async def close(self) -> None:
        """Log out. A log-out that fails harms nothing: the session runs out by itself."""
        if self._values is None or self._session.logout is None:
            return
        try:
            request = self._request(self._session.logout, self._values)
            await self.apply(request)
            await self._context.send(request)
        except (EngineError, Mismatch):
            return
        finally:
            self._values = None

    def _request(self, step: LoginStep, taken: Mapping[str, str]) -> HttpRequest:
        scope = {**self._context.scope, "session": taken}
        url = self._context.url(interpolate.fill(step.path, scope, interpolate.path_part))
        request = HttpRequest(step.method or "POST", url, {}, None, shown=step.path.partition("?")[0])
        add_query(
            request, {name: body.plain(v) for name, v in interpolate.evaluate(dict(step.query or {}), scope).items()}
        )
        for name, value in (step.headers or {}).items():
            request.headers[name.lower()] = header_value(name, interpolate.fill(value, scope))
        if step.basic:
            username, password = (interpolate.fill(text, scope) for text in (step.basic.username, step.basic.password))
            request.headers["authorization"] = basic(username, password)
        content = _body(step, scope)
        if content is not None:
            request.body = content.encode({})
            request.headers.setdefault("content-type", content.content_type)
        return request

    @staticmethod
    def _judge(status: int, host: str) -> None:
        if 200 <= status < 300:
            return
        if status == 429:
            raise RateLimited(f"{host} allows no more log-ins for now (429).", retry_after=60, status=429)
        if status >= 500 or status in (408, 425):
            raise Unreachable(f"{host} answered the log-in with {status}.", status=status)
        raise CredentialsRejected(
            f"{host} refuses the log-in ({status}); check user name and password, and whether the account is locked.",
            status=status,
        )


def _body(step: LoginStep, scope: dict[str, Any]) -> body.Body | None:
    if step.body is not None:
        return body.Body("JSON", interpolate.evaluate(step.body, scope))
    if step.form is not None:
        return body.Body("Form", interpolate.evaluate(dict(step.form), scope))
    if step.text is not None:
        return body.Body("Text", interpolate.fill(step.text, scope))
    return None


def _take(source: str, answer: HttpAnswer, host: str) -> str:
    """What the answer holds at `source`; empty when it does not."""
    way, _, name = source.partition(":")
    if way == "header" and name:
        return answer.headers.get(name.strip().lower(), "")
    if way == "cookie" and name:
        return answer.cookies.get(name.strip(), "")
    text = answer.body.decode("utf-8-sig", "replace").strip()
    if source == "body":
        try:
            whole = orjson.loads(text)
        except orjson.JSONDecodeError:
            return text
        return whole if isinstance(whole, str) else text
    try:
        found = expressions.compile_expression(source)(decode_json(answer.body, host, "the log-in"))
    except Mismatch:
        return ""
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""
