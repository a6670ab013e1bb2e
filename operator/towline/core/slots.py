"""The limits on syncs that run at once, shared fairly: people before schedules, and each Integration in its turn.

Three limits hold together: of the installation, of a namespace and of a Connector. Who waits for its namespace or its
Connector does not stand in the way of the others.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How many syncs may run at once. 0: no limit."""

    total: int = 10
    namespace: int = 0
    connector: int = 0


@dataclass(frozen=True)
class Request:
    """A sync that waits. `group` is what takes turns; a smaller `priority` goes first."""

    key: Hashable
    group: Hashable
    priority: int
    namespace: str = ""
    connector: str = ""


@dataclass(frozen=True)
class Place:
    """Where a sync stands in the queue, 1 is next, and which limit it waits for."""

    position: int
    waiting: int
    reason: str


class Slots:
    """Who runs and who waits. Has no memory beside the process: at start it is filled from the statuses."""

    def __init__(self, limits: Limits | int) -> None:
        self.limits = limits if isinstance(limits, Limits) else Limits(limits)
        self._holders: dict[Hashable, tuple[str, str]] = {}
        self._namespaces: Counter[str] = Counter()
        self._connectors: Counter[str] = Counter()
        self._waiting: dict[int, OrderedDict[Hashable, deque[Hashable]]] = {}
        self._requests: dict[Hashable, Request] = {}
        self._positions: dict[Hashable, int] = {}
        self._changes = 0

    @property
    def limit(self) -> int:
        return self.limits.total

    @property
    def active(self) -> int:
        return len(self._holders)

    @property
    def waiting(self) -> int:
        return len(self._requests)

    def holds(self, key: Hashable) -> bool:
        return key in self._holders

    def hold(self, key: Hashable, namespace: str = "", connector: str = "") -> None:
        """Take a slot without asking, for what already runs; the limits may be passed by that."""
        self._forget(key)
        if key not in self._holders:
            self._take(key, namespace, connector)

    def ask(self, request: Request) -> bool:
        """Take a slot if one is free and nobody waits who goes before and could take it; otherwise wait."""
        if request.key in self._holders:
            return True
        if request.key not in self._requests:
            self._requests[request.key] = request
            self._changes += 1
            groups = self._waiting.setdefault(request.priority, OrderedDict())
            groups.setdefault(request.group, deque()).append(request.key)
        if self.next_in_line() == request.key:
            self._grant(self._requests[request.key])
            return True
        return False

    def release(self, key: Hashable) -> None:
        """Give the slot back, or stop waiting for one."""
        held = self._holders.pop(key, None)
        if held is not None:
            self._namespaces[held[0]] -= 1
            self._connectors[held[1]] -= 1
        self._forget(key)

    def next_in_line(self) -> Hashable | None:
        """Who may ask now with success; None while a limit keeps everyone who waits."""
        if len(self._holders) >= self.limits.total:
            return None
        return next((key for key in self._order() if not self._kept(self._requests[key])), None)

    def place(self, key: Hashable) -> Place | None:
        """Where a waiting sync stands; None if it does not wait. In a long queue the number is a little old."""
        request = self._requests.get(key)
        if request is None:
            return None
        if self._changes > len(self._requests) // 20 or key not in self._positions:
            self._positions = {other: number for number, other in enumerate(self._rounds(), 1)}
            self._changes = 0
        return Place(self._positions[key], self.waiting, self._why(request))

    def _why(self, request: Request) -> str:
        if kept := self._kept(request):
            return kept
        if len(self._holders) >= self.limits.total:
            return f"{self.active} syncs run, as many as sync.maxActive allows"
        return "others go before"

    def _kept(self, request: Request) -> str:
        """The limit of the namespace or the Connector that keeps a request from its slot; empty if none does."""
        limits = self.limits
        if limits.namespace and self._namespaces[request.namespace] >= limits.namespace:
            return f"{limits.namespace} syncs run in this namespace, as many as sync.maxActivePerNamespace allows"
        if limits.connector and self._connectors[request.connector] >= limits.connector:
            return f"{limits.connector} syncs of this Connector run, as many as sync.maxActivePerConnector allows"
        return ""

    def _order(self) -> Iterator[Hashable]:
        """The first of each group: the next turn of each."""
        for priority in sorted(self._waiting):
            for queue in self._waiting[priority].values():
                yield queue[0]

    def _rounds(self) -> Iterator[Hashable]:
        """All that wait, in the order in which slots would come to them, limits apart."""
        for priority in sorted(self._waiting):
            queues = [list(queue) for queue in self._waiting[priority].values()]
            for turn in range(max(map(len, queues))):
                yield from (queue[turn] for queue in queues if turn < len(queue))

    def _grant(self, request: Request) -> None:
        groups = self._waiting[request.priority]
        self._forget(request.key)
        if request.group in groups:
            groups.move_to_end(request.group)
        self._take(request.key, request.namespace, request.connector)

    def _take(self, key: Hashable, namespace: str, connector: str) -> None:
        self._holders[key] = (namespace, connector)
        self._namespaces[namespace] += 1
        self._connectors[connector] += 1

    def _forget(self, key: Hashable) -> None:
        request = self._requests.pop(key, None)
        if request is None:
            return
        self._changes += 1
        groups = self._waiting[request.priority]
        groups[request.group].remove(key)
        if not groups[request.group]:
            del groups[request.group]
        if not groups:
            del self._waiting[request.priority]
