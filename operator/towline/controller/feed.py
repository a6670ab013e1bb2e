"""Changes from the API server, by kopf, in a thread of its own. The only module that knows kopf.

kopf's handlers here only pass events on: they keep no state on objects, set no finalizers, and cannot fail. When
kopf gives up, for what reason ever, it is started again.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import kopf

from towline.controller.cache import slim
from towline.core.facts import MANAGED_BY, MANAGER
from towline.kube.access import Access
from towline.kube.opening import begins_in_time
from towline.kube.resources import BY_KIND

log = logging.getLogger(__name__)
SELECTOR = f"{MANAGED_BY}={MANAGER}"
_LOGIN_MINUTES = 10
Sink = Callable[[str, str, dict[str, Any]], None]
"""Takes (kind, type, object); the type is empty for objects of a first list, else ADDED, MODIFIED or DELETED."""


class Feed:
    """Watches Connectors, Integrations, SyncJobs, and the Jobs and pods that Towline made."""

    def __init__(
        self,
        access: Access,
        namespaces: tuple[str, ...],
        sink: Sink,
        served: Callable[[], Awaitable[bool]],
    ) -> None:
        self._access = access
        self._namespaces = namespaces
        self._sink = sink
        self._served = served
        self._main = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._supervise, name="feed", daemon=True)
        self._stopping = threading.Event()
        self._kopf: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self.last_event: dict[str, float] = {}
        self.restarts = 0

    def start(self) -> None:
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def stop(self, seconds: float = 5.0) -> None:
        """Stop watching and wait for the thread."""
        self._stopping.set()
        running = self._kopf
        if running is not None:
            loop, task = running
            try:
                loop.call_soon_threadsafe(task.cancel)
            except RuntimeError:  # its loop has just ended by itself
                log.debug("The watch had already ended")
        self._thread.join(seconds)

    def _supervise(self) -> None:
        wait = 1.0
        while not self._stopping.is_set():
            started = time.monotonic()
            try:
                asyncio.run(self._watch())
            except asyncio.CancelledError:
                log.debug("The watch was cancelled")
            except BaseException as error:  # whatever ended kopf, the operator has to see again
                log.warning("Watching ended (%s); it starts again", type(error).__name__)
            if self._stopping.is_set():
                return
            self.restarts += 1
            wait = 1.0 if time.monotonic() - started > 60 else min(wait * 2, 30.0)
            self._stopping.wait(wait)

    async def _watch(self) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._kopf = (asyncio.get_running_loop(), task)
        try:
            # kopf looks once for the kinds: a kind that is not served by then would never be watched.
            while not await self._ask():  # noqa: ASYNC110  nothing tells when a kind comes to be served
                await asyncio.sleep(2)
            await kopf.operator(
                registry=self._registry(),
                settings=watch_settings(),
                standalone=True,
                # Left to itself kopf asks for the user's name, and in a pod user 65532 has none.
                identity="towline",  # type: ignore[arg-type]  # a NewType of str that kopf does not export
                clusterwide=not self._namespaces,
                namespaces=self._namespaces,
            )
        finally:
            self._kopf = None

    async def _ask(self) -> bool:
        """Whether all kinds are served, asked in the main loop, where the client lives."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(_as_coroutine(self._served), self._main))

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry, id="login")
        async def login(**_: Any) -> kopf.AiohttpSession:
            return await connection(self._access)

        for kind, resource in BY_KIND.items():
            self._watch_kind(registry, kind, resource.group, resource.version, resource.plural)
        return registry

    def _watch_kind(self, registry: kopf.OperatorRegistry, kind: str, group: str, version: str, plural: str) -> None:
        @kopf.on.event(group, version, plural, registry=registry, id=f"pass-on-{plural}")
        async def pass_on(*, event: Any, **_: Any) -> None:
            self.last_event[kind] = time.time()
            obj = slim(kind, dict(event["object"]))
            self._main.call_soon_threadsafe(self._sink, kind, event.get("type") or "", obj)


async def _as_coroutine(call: Callable[[], Awaitable[bool]]) -> bool:
    return await call()


async def connection(access: Access) -> kopf.AiohttpSession:
    """How kopf reaches the API server; it asks again after ten minutes, so a rotated token is read anew.

    A session of our own, which kopf closes: its own has no limit for the beginning of an answer."""
    token = access.token()
    return kopf.AiohttpSession(
        server=access.server,
        aiohttp_session=aiohttp.ClientSession(
            # As kopf's own: each watch keeps a connection.
            connector=aiohttp.TCPConnector(limit=0, ssl=access.tls()),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            trust_env=False,
            middlewares=(begins_in_time,),
        ),
        expiration=datetime.now(UTC) + timedelta(minutes=_LOGIN_MINUTES),
    )


class Backoffs(Iterable[float]):
    """Waits between kopf's tries: they grow to a cap and never end, so that an outage never makes it give up."""

    def __init__(self, first: float, cap: float) -> None:
        self._first = first
        self._cap = cap

    def __iter__(self) -> Iterator[float]:
        wait = self._first
        while True:
            yield wait * random.uniform(0.8, 1.2)  # noqa: S311  jitter, not a secret
            wait = min(wait * 2, self._cap)


class NoDiff(kopf.DiffBaseStorage):
    """No handler here asks what changed: kopf need not copy each object at each event to find out."""

    def build(self, *, body: kopf.Body, extra_fields: Iterable[Any] | None = None) -> kopf.BodyEssence:
        return {}

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Nothing is ever stored on an object."""


def watch_settings() -> kopf.OperatorSettings:
    """kopf's settings (docs/decisions/0003): nothing written, nothing scanned, no limit that could block."""
    settings = kopf.OperatorSettings()
    settings.peering.standalone = True
    settings.scanning.disabled = True
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = NoDiff()
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = 0.5
    settings.queueing.exit_timeout = 2
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 330
    settings.watching.connect_timeout = 10
    settings.watching.inactivity_timeout = 70
    settings.watching.reconnect_backoff = 1.0
    settings.watching.chunk_size = 500
    settings.watching.label_selectors["batch", "v1", "jobs"] = SELECTOR
    settings.watching.label_selectors["", "v1", "pods"] = SELECTOR
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 10
    settings.networking.error_backoffs = Backoffs(0.5, 30)
    settings.networking.enforce_retry_after = True
    settings.networking.trust_env = False
    settings.process.ultimate_exiting_timeout = 25
    return settings


def quiet_logs() -> None:
    """kopf logs a line per event, and whole bodies at DEBUG; neither belongs into an operator's log."""
    for name in ("kopf.objects", "kopf.activities", "kopf._core", "kopf._cogs", "kopf"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Signals are the operator's own business; kopf warns that it leaves them alone.
    logging.getLogger("kopf._core.reactor.running").setLevel(logging.ERROR)
