"""The limit on syncs that run at once, shared fairly: people before schedules, and each Integration in its turn."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Request:
    """A sync that waits. `group` is what takes turns; a smaller `priority` goes first."""

    key: Hashable
    group: Hashable
    priority: int


class Slots:
    """Who runs and who waits. Has no memory beside the process: at start it is filled from the statuses."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._holders: set[Hashable] = set()
        self._waiting: dict[int, OrderedDict[Hashable, deque[Hashable]]] = {}
        self._requests: dict[Hashable, Request] = {}

    @property
    def active(self) -> int:
        return len(self._holders)

    @property
    def waiting(self) -> int:
        return len(self._requests)

    def holds(self, key: Hashable) -> bool:
        return key in self._holders

    def hold(self, key: Hashable) -> None:
        """Take a slot without asking, for what already runs; the limit may be passed by that."""
        self._forget(key)
        self._holders.add(key)

    def ask(self, request: Request) -> bool:
        """Take a slot if one is free and nobody waits who goes before; otherwise wait."""
        if request.key in self._holders:
            return True
        if request.key not in self._requests:
            self._requests[request.key] = request
            groups = self._waiting.setdefault(request.priority, OrderedDict())
            groups.setdefault(request.group, deque()).append(request.key)
        if len(self._holders) < self.limit and next(self._order(), None) == request.key:
            self._grant(request.key)
            return True
        return False

    def release(self, key: Hashable) -> None:
        """Give the slot back, or stop waiting for one."""
        self._holders.discard(key)
        self._forget(key)

    def next_in_line(self) -> Hashable | None:
        """Who may ask now with success; None while the limit is reached or nobody waits."""
        return next(self._order(), None) if len(self._holders) < self.limit else None

    def _order(self) -> Iterator[Hashable]:
        for priority in sorted(self._waiting):
            for queue in self._waiting[priority].values():
                yield queue[0]

    def _grant(self, key: Hashable) -> None:
        request = self._requests[key]
        groups = self._waiting[request.priority]
        self._forget(key)
        if request.group in groups:
            groups.move_to_end(request.group)
        self._holders.add(key)

    def _forget(self, key: Hashable) -> None:
        request = self._requests.pop(key, None)
        if request is None:
            return
        groups = self._waiting[request.priority]
        groups[request.group].remove(key)
        if not groups[request.group]:
            del groups[request.group]
        if not groups:
            del self._waiting[request.priority]
