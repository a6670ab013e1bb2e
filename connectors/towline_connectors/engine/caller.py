"""A request of a manifest, carried through: budget, credentials, errors, waiting, retrying."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from towline.api.http import Health, Http, Request
from towline.api.manifest import Parse
from towline_connectors.engine import body as bodies
from towline_connectors.engine import clock, expressions, interpolate, verdict
from towline_connectors.engine.accounts import Account, Accounts
from towline_connectors.engine.auth import Authenticator
from towline_connectors.engine.auth.base import Plain
from towline_connectors.engine.body import Body
from towline_connectors.engine.budget import Limiter
from towline_connectors.engine.classify import TOKEN, Classifier
from towline_connectors.engine.decode import decode
from towline_connectors.engine.errors import CredentialsRejected, EngineError, RateLimited, SchemaMismatch, Unreachable
from towline_connectors.engine.hosts import origin
from towline_connectors.engine.http import Client, HttpAnswer, HttpRequest, HttpStream
from towline_connectors.engine.interpolate import Scope
from towline_connectors.engine.retry import Patience, Policy
from towline_connectors.engine.source import Setup
from towline_connectors.engine.values import Mismatch

NOBODY = Plain()
_LINK = re.compile(r"^\$\{\s*(id|part)\s*\}$")  # a path that is nothing but what the vendor gave
MAX_REFUSAL = 1 << 20  # bytes that are read of an answer that is no good one


@dataclass(frozen=True, slots=True)
class Call:
    """One request ready to send. `shown` is the path as the manifest writes it."""

    method: str
    url: str
    shown: str
    headers: dict[str, str]
    body: Body | None = None
    budget: str | None = None
    phase: str | None = None
    form: str = "JSON"
    accept: frozenset[int] = frozenset()  # statuses that are good whatever the rules say
    scope: Scope | None = None  # for the hints of error rules
    auth: str | None = None  # entry of http.auths
    cost: int = 1
    foreign: bool = False  # a link that the vendor gave to another of its hosts: it is sent without credentials
    parse: Parse | None = None  # how the format is written


@dataclass(frozen=True, slots=True)
class Reply:
    """A good answer, decoded. `empty` when a rule of class Empty matched: there is nothing."""

    value: Any
    headers: Any
    url: str
    empty: bool = False


@dataclass(frozen=True, slots=True)
class Whole:
    """A good answer as it came; no body where there is nothing to read. `empty`: see Reply."""

    body: bytes | None
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
        self._classifier = Classifier(http.errors, clock.wall)
        self._policy = Policy.of(http.retry)
        self._skipped = 0
        accounts = setup.accounts or Accounts()
        self._account: Account = accounts.get(http, self.base_url, base_scope, self.url_of)
        self._account.authenticator(None)  # what is missing in the Secret is told before anything is sent
        self._account.enter(self._send_token)

    @property
    def judges_bodies(self) -> bool:
        """Whether a rule looks into good answers, which then are read whole."""
        return any(self._classifier.judges(status) for status in (200, 201, 202))

    def take_skipped(self) -> int:
        """Requests since the last call whose records were left out (class SkipRecord)."""
        found, self._skipped = self._skipped, 0
        return found

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).hostname or ""

    def call(
        self,
        request: Request,
        scope: Scope,
        *,
        budget: str | None,
        phase: str | None,
        form: str = "JSON",
        parse: Parse | None = None,
    ) -> Call:
        """A manifest's request with its references filled in."""
        body = bodies.build(request, scope)
        url = self.url(request.path, scope, interpolate.evaluate(dict(request.query or {}), scope))
        foreign = bool(_LINK.match(request.path)) and origin(url) != origin(self.base_url)
        headers = {**({} if foreign else self._headers), **(request.headers or {})}
        return Call(
            method=request.method or ("POST" if body is not None or phase == "Create" else "GET"),
            url=url,
            shown=request.path.partition("?")[0],
            headers={name: interpolate.fill(value, scope) for name, value in headers.items()},
            body=body,
            budget=budget,
            phase=phase,
            form=form,
            scope=scope,
            auth=request.auth,
            cost=request.cost or 1,
            foreign=foreign,
            parse=parse,
        )

    def url(self, path: str, scope: Scope, query: dict[str, Any] | None = None) -> str:
        is_link = _LINK.match(path) and interpolate.fill(path, scope).startswith(("https://", "http://"))
        escape: Callable[[str], str] = str if is_link else interpolate.path_part
        return with_query(self.url_of(interpolate.fill(path, scope, escape)), query or {})

    def url_of(self, path: str) -> str:
        """A path below the base URL; a URL stays as it is."""
        return path if "://" in path.partition("?")[0] else f"{self.base_url}/{path.lstrip('/')}"

    async def send(self, call: Call) -> Reply:
        """Send until there is a good answer, as the retry rules allow. Raises EngineError and its like."""
        whole = await self.whole(call)
        value = decode(whole.body, call.form, self.host, call.shown, call.parse) if whole.body is not None else None
        return Reply(value, whole.headers, whole.url, whole.empty)

    async def whole(self, call: Call) -> Whole:
        """As `send`, not decoded."""
        async with AsyncExitStack() as stack:
            answer, stream = await self._until_good(call, stack, whole=True)
            if answer is None:
                raise SchemaMismatch(f"{self.host} answered {call.shown} with nothing.")
            if stream is None:
                return Whole(None, answer.headers, answer.url, empty=answer.status not in call.accept)
            return Whole(answer.body, answer.headers, answer.url)

    @asynccontextmanager
    async def open(self, call: Call) -> AsyncIterator[HttpStream | None]:
        """As `send`, with the body of the good answer still to be read; None when there is nothing (class Empty).
        The budget's place is free again when the answer begins: who reads it may have to wait for other requests."""
        async with AsyncExitStack() as stack:
            yield (await self._until_good(call, stack, whole=False))[1]

    async def prove(self, health: Health, scope: Scope) -> None:
        """Make the health call. Raises EngineError, CredentialsRejected among them."""
        call = self.call(health.request, scope, budget=None, phase=None)
        expect = health.expect
        if expect is None or expect.body is None:
            await self.send(replace(call, accept=frozenset((expect.status if expect else None) or ())))
            return
        reply = await self.send(call)
        try:
            proved = expressions.truthy(expressions.compile_expression(expect.body)(reply.value))
        except Mismatch:
            proved = False
        if not proved:
            raise CredentialsRejected(
                f"{self.host} answered {call.method} {call.shown}, but not as to somebody whom it knows; check the keys"
                " in the Secret."
            )

    async def close(self) -> None:
        """Log out, if this was the last one to use the credentials."""
        await self._account.leave(self._send_token)

    async def _until_good(
        self, call: Call, stack: AsyncExitStack, *, whole: bool
    ) -> tuple[HttpAnswer | None, HttpStream | None]:
        """The answer and its stream; no stream where there is nothing to read (class Empty, or accepted as it is)."""
        patience = Patience(self._policy, self._setup.deadline, self._setup.progress)
        limiter = self._account.budgets.limiter(call.method, call.shown, call.budget)
        renewed = False
        while True:
            try:
                async with AsyncExitStack() as attempt, limiter.request(call.cost, patience.left):
                    edition, used = self._account.edition, None
                    authenticator = self._authenticator(call)
                    self.client.check_host(call.url)  # before a token is fetched for it
                    try:
                        used = await authenticator.prepare()
                        found = await self._exchange(call, attempt, limiter, whole=whole)
                    except CredentialsRejected:
                        if used is not None and not renewed and authenticator.renew(used):
                            renewed = True  # a token of the same credentials
                        elif not call.foreign and self._account.refresh(edition):
                            renewed = False  # they were rotated while the run went on
                        else:
                            raise
                        continue
                    self._account.proved()
                    await stack.enter_async_context(attempt.pop_all())
                    return found
            except RateLimited as error:
                if error.status is not None and error.retry_after is not None:
                    limiter.hold(min(error.retry_after, patience.left))
                await patience.wait(error)
            except Unreachable as error:
                await patience.wait(error)

    async def _exchange(
        self, call: Call, attempt: AsyncExitStack, limiter: Limiter, *, whole: bool
    ) -> tuple[HttpAnswer | None, HttpStream | None]:
        authenticator = self._authenticator(call)
        request = self._complete(call, authenticator.session())
        await authenticator.apply(request)
        breaker = self._account.breaker(urlsplit(call.url).hostname or "")
        breaker.enter()
        failed: bool | None = None
        try:
            stream = await attempt.enter_async_context(self.client.stream(request, redirects=not authenticator.signs))
            limiter.learn(stream.headers, call.cost)
            found = await self._judge(call, stream, whole=whole)
            failed = False
            return found
        except Unreachable:
            failed = True
            raise
        except Exception:
            failed = False  # whatever it was, the host has answered
            raise
        finally:
            breaker.leave(failed=failed)

    async def _judge(
        self, call: Call, stream: HttpStream, *, whole: bool
    ) -> tuple[HttpAnswer | None, HttpStream | None]:
        if stream.status in call.accept and not (200 <= stream.status < 300 and self._classifier.judges(stream.status)):
            return HttpAnswer(stream.status, stream.headers, b"", stream.url), None
        good = 200 <= stream.status < 300
        if good and not whole:
            stream, start = await _peeked(stream) if self._classifier.judges(stream.status) else (stream, b"")
            answer = HttpAnswer(stream.status, stream.headers, start, stream.url)
        else:
            limit = self.client.max_body if good else MAX_REFUSAL
            answer = HttpAnswer(stream.status, stream.headers, await _read(stream, limit, cut=not good), stream.url)
        class_, rule = self._classifier.classify(answer, call.shown, call.phase)
        if class_ is None:
            return answer, stream
        if class_ == "SkipRecord":
            self._skipped += 1
        elif class_ != "Empty":
            verdict.refuse(class_, rule, answer, (call.method, call.shown, call.scope or {}), self._classifier)
        return answer, None

    def _authenticator(self, call: Call) -> Authenticator:
        return NOBODY if call.foreign else self._account.authenticator(call.auth)

    def _complete(self, call: Call, session: Any) -> HttpRequest:
        """The request with what the session holds in place of its markers."""
        if self._setup.reroute and not session:
            session = _Dummies()
        headers = {name: interpolate.unmark(value, session) for name, value in call.headers.items()}
        body = None
        if call.body is not None:
            body = call.body.encode(session)
            if not any(name.lower() == "content-type" for name in headers):
                headers["content-type"] = call.body.content_type
        return HttpRequest(call.method, interpolate.unmark(call.url, session), headers, body, call.shown)

    async def _send_token(self, request: HttpRequest) -> HttpAnswer:
        """One exchange for a token or a log-in; rules of phase Token say what a refusal means."""
        answer = await self.client.send(request, redirects=False)
        rule = self._classifier.rule(answer, request.shown, TOKEN)
        if rule is not None and rule.class_ not in ("Empty", "SkipRecord"):
            verdict.refuse(rule.class_, rule, answer, (request.method, request.shown, self._scope), self._classifier)
        return answer


class _Dummies(dict[str, str]):
    """A session's values in a replay, which has no log-in."""

    def get(self, key: str, default: Any = None) -> Any:
        return "session"


async def _read(stream: HttpStream, limit: int, *, cut: bool) -> bytes:
    """The whole body; of a refusal as much as may be read (`cut`), since its status says enough."""
    parts: list[bytes] = []
    try:
        async for piece in stream.chunks(limit):
            parts.append(piece)  # noqa: PERF401 - what came before an error is kept
    except EngineError:
        if not cut:
            raise
    return b"".join(parts) if len(parts) != 1 else parts[0]


async def _peeked(stream: HttpStream) -> tuple[HttpStream, bytes]:
    """The stream, and its first piece, which is read again later: rules on good answers look into it."""
    pieces = stream.chunks(1 << 40)
    first = await anext(pieces, b"")

    async def chunks(limit: int) -> AsyncIterator[bytes]:
        total = 0
        piece: bytes | None = first
        while piece:
            total += len(piece)
            if total > limit:
                host = urlsplit(stream.url).hostname
                raise SchemaMismatch(f"{host} sent an answer of more than {limit >> 20} MiB; ask for smaller pages.")
            yield piece
            piece = await anext(pieces, None)

    return replace(stream, chunks=chunks), first


def with_query(url: str, query: dict[str, Any]) -> str:
    """The URL with parameters added; those that it has already are replaced, a list is repeated."""
    if not query:
        return url
    base, _, given = url.partition("?")
    names = {quote(str(name), safe="") for name in query}
    kept = [pair for pair in given.split("&") if pair and pair.partition("=")[0] not in names]
    added = [
        f"{quote(str(name), safe='')}={quote(bodies.plain(item), safe='')}"
        for name, value in query.items()
        for item in (value if isinstance(value, list) else [value])
    ]
    return f"{base}?{'&'.join(kept + added)}"
