"""The operator process: client, cache, feed, queue, server, put together and taken apart again."""

from __future__ import annotations

import asyncio
import logging
import math
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from towline.controller import server
from towline.controller.bundled import apply_bundled
from towline.controller.cache import Cache
from towline.controller.context import Context
from towline.controller.feed import Feed, quiet_logs
from towline.controller.leader import Elector
from towline.controller.listing import Listing
from towline.controller.probes import Probe, Prober
from towline.controller.progress import Reports
from towline.controller.queue import Key, Rest, WorkQueue
from towline.controller.reconcilers import START, hold_slot, lane_of, reconcile
from towline.controller.samples import samples
from towline.controller.secretwatch import SecretWatch
from towline.controller.settings import Settings
from towline.controller.trouble import trouble
from towline.core.connectors import Check
from towline.core.slots import Limits, Slots
from towline.kube.access import Access
from towline.kube.client import Client
from towline.kube.errors import ApiError
from towline.kube.events import Recorder
from towline.kube.resources import BY_KIND, CONNECTORS, OWN
from towline.kube.secrets import Facts
from towline.metrics import Metrics

log = logging.getLogger(__name__)
# A stand-by that takes over stays ready meanwhile: it serves as well as before, and a rolling update counts on it.
TAKE_OVER_SECONDS = 60.0


class Operator:
    """One operator process. `run` returns after a SIGTERM, with everything it began either done or resumable."""

    def __init__(
        self,
        settings: Settings,
        client: Client,
        check: Check,
        version: str,
        probe: Probe | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._client = client
        cache = Cache()
        # A stand-by knows the Integrations as well; told by two, each would be counted twice.
        metrics = Metrics(lambda: samples(cache, self.context.prober.samples()) if self._leads else (), version)
        self._queue = WorkQueue(
            self._reconcile,
            settings.workers,
            self._on_error,
            clock,
            lambda key: lane_of(cache, clock(), key),
            START,
        )
        self.context = Context(
            client=client,
            cache=cache,
            facts=Facts(client),
            events=Recorder(client),
            metrics=metrics,
            slots=Slots(
                Limits(settings.max_active_syncs, settings.max_active_per_namespace, settings.max_active_per_connector)
            ),
            settings=settings,
            check=check,
            prober=Prober(
                client,
                metrics,
                probe if settings.probe_seconds else None,
                self._queue.add,
                settings.probe_seconds,
                settings.runs.egress,
            ),
            clock=clock,
            enqueue=self._queue.add,
            enqueue_at=self._queue.add_at,
        )
        self.context.prober.heard = self.context.audit.checked
        self._heartbeat = server.Heartbeat()
        self._feed: Feed | None = None
        self._elector: Elector | None = None
        self._lead = asyncio.Event()
        self._working = False
        self._taken_over_by = 0.0  # when a stand-by has to be at work, by the monotonic clock
        self._listing = Listing(self.context)

    async def run(self, access: Access, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Work until `stop` is set."""
        settings = self._settings
        app = server.application(self._dead, self._waiting, self._metrics)
        runners = [await server.serve(app, settings.host, settings.port)]
        if settings.progress_port:
            reports = Reports(self.context, lambda: self._leads and self._working).application()
            runners.append(await server.serve(reports, settings.host, settings.progress_port))
        self._stand_for_election(access)
        try:
            async with asyncio.TaskGroup() as group:
                heartbeat = group.create_task(self._heartbeat.run())
                events = group.create_task(self.context.events.run())
                work = group.create_task(self._work(access, ready))
                await stop.wait()
                log.info("Stopping")
                work.cancel()
                await asyncio.wait({work})
                await self.context.events.flush(3.0)
                events.cancel()
                # The Lease goes back when nothing is written any more, and before anything slow: the next one waits.
                await asyncio.to_thread(self._end_threads)
                heartbeat.cancel()
        finally:
            for runner in runners:
                await runner.cleanup()

    def _stand_for_election(self, access: Access) -> None:
        if not self._settings.election.identity:
            self._lead.set()
            return
        loop = asyncio.get_running_loop()

        def lead() -> None:
            loop.call_soon_threadsafe(self._lead.set)

        self._elector = Elector(self._settings.election, access, lead, lag=lambda: self._heartbeat.lag)
        self._client.may_write = lambda: self._leads
        self._elector.start()

    @property
    def _leads(self) -> bool:
        return self._lead.is_set() if self._elector is None else self._elector.leading

    def _end_threads(self) -> None:
        if self._elector is not None:
            self._elector.stop()
        if self._feed is not None:
            self._feed.stop()

    async def _work(self, access: Access, ready: Callable[[], None]) -> None:
        """A stand-by lists and watches as the leader does, so that it can take over with a full cache."""
        await self._until_served()
        await self._insist("list all objects", self._listing.first)
        self._feed = Feed(access, self._settings.namespaces, self._on_event, self._served)
        self._feed.start()
        log.info("Ready: %d Integrations known", self.context.cache.count("Integration"))
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listing.repeat(self._settings.resync_seconds))
            if not self._lead.is_set():
                self._taken_over_by = math.inf
                await self._lead.wait()
                self._taken_over_by = time.monotonic() + TAKE_OVER_SECONDS
            if self._settings.bundled:
                await self._insist("apply the bundled Connectors", self._apply_bundled)
                await self._insist("list the Connectors", lambda: self._listing.list(CONNECTORS))
            self._hold_slots()
            self._working = True
            ready()
            group.create_task(self._queue.run())
            group.create_task(self.context.prober.run())
            if self._settings.watch_secrets:
                group.create_task(self._secrets().run())

    def _secrets(self) -> SecretWatch:
        context = self.context
        return SecretWatch(
            self._client, context.facts, context.secret_users, context.enqueue, self._settings.namespaces
        )

    async def _until_served(self) -> None:
        told = False
        while not await self._served():
            if not told:
                log.warning("The CustomResourceDefinitions of towline.dev are not all there yet; waiting for them")
                told = True
            await asyncio.sleep(2)

    async def _served(self) -> bool:
        try:
            plurals = await self._client.served(OWN[0].api_version)
        except ApiError as error:
            log.warning("The API server does not answer (%s); trying again", error)
            return False
        return {resource.plural for resource in OWN} <= plurals

    async def _apply_bundled(self) -> None:
        await apply_bundled(self._client, self._settings.namespaces)

    async def _insist(self, what: str, action: Callable[[], Any]) -> None:
        wait = 1.0
        while True:
            try:
                await action()
                return
            except ApiError as error:
                log.warning("Could not %s (%s); trying again in %.0f s", what, error, wait)
                await asyncio.sleep(wait)
                wait = min(wait * 2, 30.0)

    def _hold_slots(self) -> None:
        for raw in self.context.cache.all("SyncJob"):
            status = raw.get("status") or {}
            if status.get("attempts") and not status.get("completionTime") and not status.get("nextAttemptTime"):
                hold_slot(self.context, Key("SyncJob", raw["metadata"]["namespace"], raw["metadata"]["name"]), raw)

    def _on_event(self, kind: str, change: str, obj: dict[str, Any]) -> None:
        if change == "DELETED":
            self.context.take_out(kind, obj)
        else:
            self.context.take_in(kind, obj)

    async def _reconcile(self, key: Key) -> datetime | Rest | None:
        again = await reconcile(self.context, key)
        if self.context.cache.get(*key) is None:
            self._queue.forget(key)
        return again

    def _on_error(self, key: Key, error: Exception, failures: int) -> None:
        self.context.metrics.errors.labels(key.kind).inc()
        obj = self.context.cache.get(*key)
        if obj is not None and (event := trouble(key, error, failures)) is not None:
            self.context.events.emit(obj, event)

    def _dead(self) -> str:
        if self._heartbeat.lag > server.MAX_LAG_SECONDS:
            return "the event loop is held up"
        if self._feed is not None and not self._feed.alive:
            return "the thread that watches has ended"
        return ""

    def _waiting(self) -> str:
        if missing := self._listing.missing:
            return f"not listed yet: {', '.join(missing)}"
        if self._leads and not self._working and time.monotonic() >= self._taken_over_by:
            return "taking over: the bundled Connectors are being applied"
        return self._dead() or (self._elector.trouble if self._elector is not None else "")

    def _metrics(self) -> Callable[[], bytes]:
        metrics, slots = self.context.metrics, self.context.slots
        metrics.active.set(slots.active)
        metrics.limit.set(slots.limit)
        metrics.waiting.set(slots.waiting)
        metrics.reach(metrics.api_requests, self._client.requests)
        metrics.reach(metrics.api_writes, self._client.writes)
        metrics.open_hosts.set(self.context.prober.breakers.open)
        metrics.leader.set(float(self._leads))
        metrics.epoch.set(self._elector.epoch if self._elector is not None else 0)
        if self._feed is not None:
            metrics.reach(metrics.watch_restarts, self._feed.restarts)
            for kind, at in list(self._feed.last_event.items()):
                metrics.last_event.labels(BY_KIND[kind].plural).set(at)
        return metrics.text


async def run(
    settings: Settings,
    access: Access,
    check: Check,
    version: str,
    probe: Probe | None = None,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> None:
    """Run the operator until SIGTERM or SIGINT."""
    quiet_logs()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Client(access, settings.requests_per_second, int(settings.requests_per_second * 2)) as client:
        await Operator(settings, client, check, version, probe, clock).run(access, stop)


__all__ = ["Operator", "run"]
