"""Health calls to all systems, side by side in the operator's loop, each Integration on a grid of its own.

What a probe finds stays in memory; only a change of state makes the Integration be reconciled and its status written.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from towline.api.base import seconds
from towline.api.conditions import ConditionType, Reason
from towline.api.connector import ConnectorSpec
from towline.api.integration import Integration
from towline.api.integrationstatus import CredentialsStatus, HealthStatus
from towline.contract import Egress, Plan
from towline.controller.breakers import Breakers
from towline.controller.queue import Key, WorkQueue
from towline.controller.subjects import Subject, plan_of, subject_of
from towline.core import health
from towline.core.conditions import find
from towline.core.connectors import previous_conditions
from towline.core.expiry import Expiry
from towline.core.health import Probed, Track
from towline.core.schedule import stable_offset
from towline.core.validate import View
from towline.kube.bucket import Bucket
from towline.kube.client import Client
from towline.kube.errors import NotFoundError
from towline.kube.resources import SECRETS, Resource
from towline.kube.secrets import values_of
from towline.metrics import Metrics

log = logging.getLogger(__name__)
PROBE_SECONDS = 10.0
_MIN_EVERY = 30.0
_BUSY_SECONDS = 1.0
_SECRETS_PER_SECOND = 250.0


@dataclass(frozen=True)
class Target:
    """All that a health call needs. Holds secrets: it lives for one call and is never logged."""

    plan: Plan
    """Without the manifest: `spec` is it, parsed once for all who use it."""
    spec: ConnectorSpec
    secrets: dict[str, str]
    ca_bundle: str = ""
    """PEM."""
    proxy: str = ""


@dataclass(frozen=True)
class Found:
    """What a health call came to. `reason` is Reachable when good."""

    reason: Reason
    message: str = ""
    seconds: float = 0.0
    expiries: tuple[Expiry, ...] = ()


Probe = Callable[[Target, float], Awaitable[Found]]
"""Makes the call within so many seconds."""


@dataclass(slots=True)
class _Watched:
    """An Integration that is probed."""

    uid: str
    subject: Subject
    every: timedelta
    offset: timedelta
    version: tuple[object, ...]
    track: Track
    held: bool = False
    """A sync was refused with these credentials: another try would only bring a lock nearer."""
    resting: tuple[object, ...] = ()
    """The version whose credentials were rejected: it is not tried again."""


class Prober:
    """Knows whom to probe and when, and what came of it. Used from the main loop only."""

    def __init__(
        self,
        client: Client,
        metrics: Metrics,
        probe: Probe | None,
        changed: Callable[[Key], None],
        every: float,
        egress: Egress | None = None,
        at_once: int = 50,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`changed` is told of each Integration whose state has changed. `every`: seconds, where no manifest says."""
        self._client = client
        self._metrics = metrics
        self._probe = probe
        self._changed = changed
        self._every = every
        self._egress = egress
        self._clock = clock
        self._watched: dict[Key, _Watched] = {}
        self._queue = WorkQueue(self._work, at_once, clock=clock)
        self._bucket = Bucket(250, 250)
        # Of their own: what starts a run reads Secrets as well, and must not wait for probes.
        self._secrets = Bucket(_SECRETS_PER_SECOND, int(_SECRETS_PER_SECOND))
        self._held_up: dict[str, dict[Key, None]] = defaultdict(dict)
        """Who waits for a host that is asked by as many as it may be, in their order."""
        self.breakers = Breakers()
        self.heard: Callable[[Key, str, str, Probed], bool] = lambda *_: False
        """Told of each probe: the Integration, its uid, its Connector. Answers whether a status has to tell of it."""

    async def run(self) -> None:
        """Probe until cancelled."""
        await self._queue.run()

    def track(self, key: Key) -> Track | None:
        """What is known of an Integration's system; None if it is not probed."""
        found = self._watched.get(key)
        return found.track if found else None

    def consider(self, key: Key, raw: dict[str, Any], subject: Integration, view: View | None) -> None:
        """Probe this Integration from now on, or no longer."""
        spec = view.connector.spec if view else None
        if self._probe is None or view is None or spec is None or not _can_be_probed(spec):
            self.forget(key)
            return
        if subject.spec.suspend:
            self.forget(key)
            return
        meta = raw["metadata"]
        version = (meta["uid"], meta.get("generation"), view.credentials_version, id(view.connector))
        known = self._watched.get(key)
        refused = _refused(raw)
        held = bool(refused) and refused == view.credentials_version
        if known is not None and known.version == version:
            if known.held and not held:
                self._queue.add_at(key, health.next_probe(known.track, known.every, known.offset, self._clock()))
            known.held = held
            return
        own = spec.health.every if spec.health else None
        every = timedelta(seconds=max(_MIN_EVERY, seconds(own) if own else self._every))
        offset = timedelta(seconds=stable_offset(meta["uid"], int(every.total_seconds())))
        same = known is not None and known.uid == meta["uid"]
        status = raw.get("status") or {}
        before = HealthStatus.model_validate(status["health"]) if status.get("health") else None
        credentials = CredentialsStatus.model_validate(status["credentials"]) if status.get("credentials") else None
        track = known.track if known is not None and same else health.remembered(before, credentials)
        self._watched[key] = _Watched(meta["uid"], subject_of(subject, view), every, offset, version, track, held)
        now = self._clock()
        first = now if before is None and not same else health.next_probe(track, every, offset, now)
        # New credentials or settings are tried soon: an error in them is told before the next sync is due.
        soon = same and known is not None and known.version[1:] != version[1:]
        soon |= bool(refused) and not held  # a sync waits for what this probe finds
        self._queue.add_at(key, now + timedelta(seconds=1) if soon else first)

    def forget(self, key: Key) -> None:
        """The Integration is gone, suspended, or cannot be probed."""
        if self._watched.pop(key, None) is not None:
            self._queue.forget(key)

    def samples(self) -> dict[tuple[str, str], Track]:
        """Tracks by namespace and name, for the metrics; may be called from another thread."""
        return {(key.namespace, key.name): found.track for key, found in list(self._watched.items())}

    async def _work(self, key: Key) -> datetime | None:
        found = self._watched.get(key)
        if found is None or self._probe is None:
            return None
        if found.held or found.resting == found.version:
            return None  # no lock-out at the vendor: rejected credentials rest until they change
        host = found.subject.host
        if self.breakers.busy(host):
            self._held_up[host][key] = None
            return self._clock() + timedelta(seconds=_BUSY_SECONDS)
        if waiting := self._held_up.get(host):
            waiting.pop(key, None)  # its second was over before it was let on; it is not to be asked twice
        if refused := self.breakers.refuses(host):
            return self._take(key, found, Probed(self._clock(), Reason.UNREACHABLE, refused))
        # Counted from here, so that callers who wait for a token do not all pass the check above.
        self.breakers.begin(host)
        failure = ""
        try:
            await self._bucket.take()
            target = await self._target(found)
            if target is None:
                return health.next_probe(found.track, found.every, found.offset, self._clock())
            began = time.monotonic()
            answer = await self._probe(target, PROBE_SECONDS)
            self._metrics.probe_overhead.observe(max(0.0, time.monotonic() - began - answer.seconds))
            failure = answer.message if answer.reason is Reason.UNREACHABLE else ""
        finally:
            self.breakers.end(host, failure)
            self._let_on(host)
        probed = Probed(self._clock(), answer.reason, answer.message, answer.seconds, answer.expiries)
        return self._take(key, found, probed)

    def _let_on(self, host: str) -> None:
        """The next of those who wait for a host. One that is gone meanwhile is passed over."""
        waiting = self._held_up.get(host)
        while waiting:
            key = next(iter(waiting))
            del waiting[key]
            if key in self._watched:
                self._queue.add(key)
                break
        if not waiting:
            self._held_up.pop(host, None)

    def _take(self, key: Key, found: _Watched, probed: Probed) -> datetime | None:
        connector = str(found.subject.connector.metadata["name"])
        self._metrics.probes.labels(connector, str(probed.reason)).inc()
        told = self.heard(key, found.uid, connector, probed)
        if self._watched.get(key) is not found:  # of what it was before: the new one is tried at once
            if told and key in self._watched:
                self._changed(key)
            return self._clock() if key in self._watched else None
        before, after = found.track, health.observe(found.track, probed)
        rejected = probed.reason is Reason.CREDENTIALS_REJECTED
        version = found.subject.version
        after = found.track = replace(after, tested=version, refused=version if rejected else "")
        if told or _news(before) != _news(after):
            self._changed(key)
        if rejected:
            found.resting = found.version
            return None
        return health.next_probe(found.track, found.every, found.offset, self._clock())

    async def _target(self, found: _Watched) -> Target | None:
        """Read the credentials by name, for this call only; None when they are not there any more."""
        subject = found.subject
        namespace = subject.namespace
        secrets: dict[str, str] = {}
        bundle = proxy = ""
        try:
            if subject.items and subject.secret:
                values = values_of(await self._get(SECRETS, namespace, subject.secret))
                secrets = {credential: values.get(key, "") for key, credential in subject.items}
            if subject.ca is not None:
                resource, name, key = subject.ca
                bundle = values_of(await self._get(resource, namespace, name)).get(key, "")
            if subject.proxy:
                proxy = values_of(await self._get(SECRETS, namespace, subject.proxy)).get("proxy_url", "")
        except NotFoundError:
            return None
        return Target(plan_of(subject, found.uid, self._egress), subject.connector.spec, secrets, bundle, proxy)

    async def _get(self, resource: Resource, namespace: str, name: str) -> dict[str, Any]:
        return await self._client.get(resource, namespace, name, self._secrets)


def _can_be_probed(spec: ConnectorSpec) -> bool:
    """A directory is asked to log the account in; an HTTP API needs a call that costs little."""
    return spec.ldap is not None or (spec.health is not None and spec.http is not None)


def _news(track: Track) -> tuple[object, ...]:
    """What an Integration has to be looked at again for."""
    return track.state, track.rejected, track.expiries, track.tested


def _refused(raw: dict[str, Any]) -> str:
    """The version of the credentials that a sync was refused with, where the Integration stands still for that."""
    stalled = find(previous_conditions(raw), ConditionType.STALLED)
    if stalled is None or stalled.reason != Reason.CREDENTIALS_REJECTED:
        return ""
    return str(((raw.get("status") or {}).get("credentials") or {}).get("observedVersion") or "")
