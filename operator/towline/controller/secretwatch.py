"""Hears of changed Secrets at once, where the chart grants it (`rbac.watchSecrets`): by metadata alone.

Whoever may watch Secrets may read them, which is why it is not the default. The regular look at each Secret goes on: a
watch that fails makes things slower, not wrong.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable

from towline.controller.queue import Key
from towline.kube.client import Client
from towline.kube.errors import ApiError, RefusedError
from towline.kube.resources import SECRETS
from towline.kube.secrets import Facts, version_of

log = logging.getLogger(__name__)
_FIRST_PAUSE = 1.0
_MAX_PAUSE = 60.0
_REFUSED_PAUSE = 300.0
Place = tuple[str, str]
"""Namespace and name."""


class SecretUsers:
    """Which Integrations name a Secret. Used from one event loop only."""

    def __init__(self) -> None:
        self._users: dict[Place, set[Key]] = defaultdict(set)
        self._named: dict[Key, frozenset[str]] = {}

    def note(self, key: Key, names: Iterable[str]) -> None:
        """The Secrets that an Integration names now; none when it is gone."""
        now, before = frozenset(names), self._named.get(key, frozenset())
        for name in before - now:
            users = self._users[key.namespace, name]
            users.discard(key)
            if not users:
                del self._users[key.namespace, name]
        for name in now - before:
            self._users[key.namespace, name].add(key)
        if now:
            self._named[key] = now
        else:
            self._named.pop(key, None)

    def of(self, namespace: str, name: str) -> frozenset[Key]:
        return frozenset(self._users.get((namespace, name), ()))


class SecretWatch:
    """One watch for each namespace that the operator looks after, or one for all."""

    def __init__(
        self,
        client: Client,
        facts: Facts,
        users: SecretUsers,
        enqueue: Callable[[Key], None],
        namespaces: tuple[str, ...] = (),
    ) -> None:
        self._client = client
        self._facts = facts
        self._users = users
        self._enqueue = enqueue
        self._namespaces = namespaces or ("",)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for namespace in self._namespaces:
                group.create_task(self._follow(namespace))

    async def _follow(self, namespace: str) -> None:
        version, pause = "", _FIRST_PAUSE
        while True:
            try:
                async for change, obj in self._client.watch_metadata(SECRETS, namespace, version):
                    version, pause = str(obj["metadata"].get("resourceVersion") or version), _FIRST_PAUSE
                    if change != "BOOKMARK":
                        self.heard(change, obj)
                # The server ends a watch now and then.
            except RefusedError as error:
                if error.status == 410:
                    version = ""
                else:
                    log.warning("Secrets cannot be watched (%s); they are looked at every few minutes", error)
                    pause = _REFUSED_PAUSE
            except ApiError as error:
                log.info("The watch of Secrets broke off: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _MAX_PAUSE)

    def heard(self, change: str, obj: dict[str, object]) -> None:
        """A Secret is there, has changed or is gone: those who name it look again, unless it is known already."""
        meta = obj["metadata"]
        assert isinstance(meta, dict)
        namespace, name = str(meta.get("namespace") or ""), str(meta["name"])
        users = self._users.of(namespace, name)
        if not users:
            return
        present = version_of(obj) if change != "DELETED" else ""
        if self._facts.outdated(SECRETS, namespace, name, present):
            for key in users:
                self._enqueue(key)
