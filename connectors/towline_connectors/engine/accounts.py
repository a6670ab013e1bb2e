"""What all that use one credential in a process share: its tokens, its budgets, and how its hosts are doing.

A run has an `Accounts` of its own; a process that serves many integrations makes one and gives it to all. It belongs
to one event loop.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from towline.api.auth import Auth
from towline.api.http import Http
from towline_connectors.engine import expressions
from towline_connectors.engine.auth import Authenticator, Context, authenticator
from towline_connectors.engine.breaker import Breaker
from towline_connectors.engine.budget import Budgets
from towline_connectors.engine.errors import InvalidManifest, Unreachable
from towline_connectors.engine.http import HttpAnswer, HttpRequest
from towline_connectors.engine.interpolate import Scope, Secrets
from towline_connectors.engine.values import Mismatch

MAX_WAYS = 256
MAX_IDLE = 10_000  # accounts that are kept although nobody uses them at the moment; about 5 kB each
_CONFIG = re.compile(r"\$\{\s*config\.([A-Za-z0-9_]+)")

Send = Callable[[HttpRequest], Awaitable[HttpAnswer]]


class Account:
    """One credential of one system."""

    def __init__(self, http: Http, scope: Scope, url: Callable[[str], str]) -> None:
        self._http = http
        self._scope = scope
        self._url = url
        self._senders: list[Send] = []
        self._authenticators: dict[str, Authenticator] = {}
        self._breakers: dict[str, Breaker] = {}
        secrets = scope.get("secret")
        self._secrets = secrets if isinstance(secrets, Secrets) else None
        self._made_of = self.edition
        self.budgets = Budgets(http.budgets)

    @property
    def edition(self) -> int:
        """Which values of the Secret requests use now."""
        return self._secrets.edition if self._secrets else 0

    def refresh(self, used: int) -> bool:
        """After a rejection: whether the Secret has other values by now. What was made of the old ones goes."""
        if self._secrets is None or not self._secrets.refresh(used):
            return False
        if self._made_of != self.edition:
            self._authenticators.clear()
            self._made_of = self.edition
        return True

    def proved(self) -> None:
        """The system has taken the credentials."""
        if self._secrets is not None:
            self._secrets.proved()

    @property
    def idle(self) -> bool:
        return not self._senders

    def enter(self, send: Send) -> None:
        """Somebody begins to use it; token requests go out through the newest."""
        self._senders.append(send)

    async def leave(self, send: Send) -> None:
        """Somebody has ended; the last one ends the sessions at the vendor."""
        if send in self._senders and len(self._senders) == 1:
            for found in self._authenticators.values():
                await found.close()
        if send in self._senders:
            self._senders.remove(send)

    def breaker(self, host: str) -> Breaker:
        found = self._breakers.get(host)
        if found is None:
            retry = self._http.retry
            found = self._breakers[host] = Breaker(host, retry.breaker if retry else None)
        return found

    def authenticator(self, name: str | None) -> Authenticator:
        """That of the entry of http.auths with this name, else the chosen one. Raises KeyMissing, InvalidManifest."""
        found = self._authenticators.get(name or "")
        if found is None:
            context = Context(self._scope, self._send, self._url)
            found = self._authenticators[name or ""] = authenticator(self._auth(name), context)
        return found

    def _auth(self, name: str | None) -> Auth | None:
        if name is None:
            return chosen(self._http, self._scope)
        for choice in self._http.auths or []:
            if choice.name == name:
                return choice.auth
        raise InvalidManifest(f"auth: http.auths has no entry {name}.")

    async def _send(self, request: HttpRequest) -> HttpAnswer:
        if not self._senders:
            raise Unreachable("The connection is closed.")
        return await self._senders[-1](request)


def chosen(http: Http, scope: Scope) -> Auth | None:
    """The first of http.auths whose `when` is true, else http.auth."""
    secrets = scope.get("secret")
    known = {"config": scope.get("config") or {}, "secrets": secrets.present() if isinstance(secrets, Secrets) else []}
    for choice in http.auths or []:
        if choice.when and _holds(choice.when, known):
            return choice.auth
    return http.auth


def _holds(when: str, known: dict[str, Any]) -> bool:
    try:
        return expressions.truthy(expressions.compile_expression(when)(known))
    except Mismatch:
        return False


class Accounts:
    """Accounts by what makes them one: the system's address, the way of the manifest, the secrets."""

    def __init__(self) -> None:
        self._accounts: OrderedDict[bytes, Account] = OrderedDict()
        self._ways: dict[bytes, Http] = {}  # one for all accounts of a connector: it is the larger part of each

    def get(self, http: Http, base_url: str, scope: Scope, url: Callable[[str], str]) -> Account:
        way = orjson.dumps(http.wire(), option=orjson.OPT_SORT_KEYS)
        key = identity(way, base_url, scope)
        found = self._accounts.get(key)
        if found is None:
            if len(self._ways) >= MAX_WAYS:
                self._ways.clear()
            shared = self._ways.setdefault(hashlib.sha256(way).digest(), http)
            found = self._accounts[key] = Account(shared, scope, url)
            self._trim()
        self._accounts.move_to_end(key)
        return found

    def _trim(self) -> None:
        spare = len(self._accounts) - MAX_IDLE
        for old in [key for key, account in self._accounts.items() if account.idle][: max(0, spare)]:
            del self._accounts[old]


def identity(way: bytes, base_url: str, scope: Scope) -> bytes:
    """A digest of the manifest's `http`, the settings that it names and the secrets; nothing can be read from it."""
    config = scope.get("config") or {}
    named = {name: str(config.get(name)) for name in sorted(set(_CONFIG.findall(way.decode())))}
    secrets = scope.get("secret")
    values = secrets.reveal_all() if isinstance(secrets, Secrets) else []
    digest = hashlib.sha256()
    for part in (way, base_url.encode(), orjson.dumps(named), orjson.dumps(values)):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.digest()
