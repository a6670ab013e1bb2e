"""What all kinds of credentials share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from towline_connectors.engine import clock, interpolate
from towline_connectors.engine.errors import CredentialsRejected
from towline_connectors.engine.http import HttpAnswer, HttpRequest
from towline_connectors.engine.interpolate import Scope

DEFAULT_SKEW = 60.0  # seconds before its end that a token is fetched anew


@dataclass(frozen=True, slots=True)
class Context:
    """What a kind of credentials works with."""

    scope: Scope  # config and secret
    send: Callable[[HttpRequest], Awaitable[HttpAnswer]]
    """One exchange for a token or a log-in. Raises by the manifest's error rules of phase Token."""
    url: Callable[[str], str]  # a path below the base URL, or a URL as it is

    def text(self, template: str, **more: Mapping[str, Any]) -> str:
        """Raises KeyMissing, ConfigInvalid."""
        return interpolate.fill(template, {**self.scope, "session": {}, **more})

    def maybe(self, template: str | None, **more: Mapping[str, Any]) -> str:
        return interpolate.maybe(template, {**self.scope, "session": {}, **more})


class Authenticator(Protocol):
    """Revealing secrets happens here, and nowhere else on the way to a vendor."""

    signs: bool
    """Whether what is added holds for this one request alone, so that no redirect may reuse it."""

    async def prepare(self) -> int:
        """Have what requests need, fetched if it is not there; the number of this token, for `renew`."""

    def session(self) -> Mapping[str, str]:
        """What requests may use as ${session.NAME}."""

    async def apply(self, request: HttpRequest) -> None:
        """Put the credentials into a request that is complete otherwise."""

    def renew(self, used: int) -> bool:
        """After a 401 with token number `used`: whether sending once more with a newer one has a point."""

    async def close(self) -> None:
        """End what was begun at the vendor."""


class Plain:
    """Credentials that need no preparation; a base for those that are the same, or made anew, for every request."""

    signs = False

    async def prepare(self) -> int:
        return 0

    def session(self) -> Mapping[str, str]:
        return {}

    async def apply(self, request: HttpRequest) -> None:
        return None

    def renew(self, used: int) -> bool:
        return False

    async def close(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Grant:
    """What a vendor gave, and for how many seconds; None: it does not say."""

    values: Mapping[str, str]
    life: float | None


class Cached(ABC):
    """Credentials that are fetched: once for all streams, again before they expire, once more after a 401 however
    many requests it met at the same time."""

    signs = False

    def __init__(self, skew: float = DEFAULT_SKEW) -> None:
        self._skew = skew
        self._values: Mapping[str, str] | None = None
        self._number = 0
        self._good_until = 0.0
        self._lock = asyncio.Lock()

    @abstractmethod
    async def fetch(self) -> Grant:
        """Raises EngineError."""

    @abstractmethod
    async def apply(self, request: HttpRequest) -> None: ...

    async def prepare(self) -> int:
        async with self._lock:
            if self._values is None or clock.monotonic() >= self._good_until:
                self._values = None
                granted = await self.fetch()
                self._values = granted.values
                self._number += 1
                life = granted.life
                self._good_until = (
                    float("inf") if life is None else clock.monotonic() + max(life - min(self._skew, life / 2), 1.0)
                )
        return self._number

    def session(self) -> Mapping[str, str]:
        return self._values or {}

    def renew(self, used: int) -> bool:
        if used == self._number:
            self._values = None
        return True

    async def close(self) -> None:
        return None


def header_value(name: str, value: str) -> str:
    """Raises CredentialsRejected for a value that would end the header."""
    if "\n" in value or "\r" in value or "\0" in value:
        raise CredentialsRejected(f"The credential for {name} holds a line break; store it in the Secret without one.")
    try:
        value.encode("ascii")
    except UnicodeEncodeError:
        raise CredentialsRejected(
            f"The credential for {name} holds letters that no header takes; copy it from the vendor once more."
        ) from None
    return value


def put(request: HttpRequest, headers: Mapping[str, str]) -> None:
    """Set headers, in place of those of the same name in any case."""
    wanted = {name.lower() for name in headers}
    for name in [name for name in request.headers if name.lower() in wanted]:
        del request.headers[name]
    for name, value in headers.items():
        request.headers[name] = header_value(name, value)
