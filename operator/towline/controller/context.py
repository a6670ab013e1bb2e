"""What all reconcilers share, and who has to look again after a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from towline.api.connector import Connector
from towline.api.syncjob import Progress
from towline.controller.audit import Audit
from towline.controller.cache import Cache
from towline.controller.probes import Prober
from towline.controller.queue import Key
from towline.controller.secretwatch import SecretUsers
from towline.controller.settings import Settings
from towline.core.connectors import Check
from towline.core.facts import SYNC_LABEL
from towline.core.slots import Slots
from towline.kube.client import Client
from towline.kube.events import Recorder
from towline.kube.secrets import Facts
from towline.metrics import Metrics


@dataclass
class Context:
    """The operator's parts. One per process; no globals."""

    client: Client
    cache: Cache
    facts: Facts
    events: Recorder
    metrics: Metrics
    slots: Slots
    settings: Settings
    check: Check
    prober: Prober
    enqueue: Callable[[Key], None]
    enqueue_at: Callable[[Key, datetime], None]
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    audit: Audit = field(default_factory=Audit)
    claims: dict[str, datetime] = field(default_factory=dict)
    """Namespaces whose volume was seen, and when."""
    queue_told: dict[Key, datetime] = field(default_factory=dict)
    """When the status of a SyncJob that waits for a slot was last given its place."""
    progress: dict[Key, tuple[int, Progress]] = field(default_factory=dict)
    """What the pod of a SyncJob's attempt told last."""
    secret_users: SecretUsers = field(default_factory=SecretUsers)
    credentials: dict[Key, str] = field(default_factory=dict)
    """The version of each Integration's credentials when it was last looked at."""
    manifests: dict[tuple[str, int], Connector] = field(default_factory=dict)
    """Parsed Connectors by uid and generation."""
    verdicts: dict[str, tuple[int, list[str]]] = field(default_factory=dict)
    """What is wrong with a Connector, by uid, with the generation that was checked."""

    def take_in(self, kind: str, obj: dict[str, Any]) -> bool:
        """Put an object into the cache and enqueue what depends on it; False if it was no news."""
        meta = obj["metadata"]
        old = self.cache.get(kind, meta.get("namespace", ""), meta["name"])
        if not self.cache.put(kind, obj):
            return False
        self._enqueue_all(kind, obj, old)
        return True

    def take_out(self, kind: str, obj: dict[str, Any]) -> bool:
        """Drop a deleted object and enqueue what depended on it; False if it was not known."""
        known = self.cache.drop(kind, obj)
        if known or kind == "Pod":
            self._enqueue_all(kind, obj, None)
        return known

    def _enqueue_all(self, kind: str, obj: dict[str, Any], old: dict[str, Any] | None) -> None:
        for key in dependents(self.cache, kind, obj, old):
            self.enqueue(key)
        if kind == "Integration" and (old is None or obj["metadata"].get("deletionTimestamp")):
            # The Connector only counts its users: together, once the dust has settled.
            connector = str(obj.get("spec", {}).get("connectorRef", {}).get("name", ""))
            self.enqueue_at(Key("Connector", "", connector), self.clock() + timedelta(seconds=2))

    def connector(self, raw: dict[str, Any]) -> Connector:
        """The parsed Connector. Raises pydantic.ValidationError."""
        meta = raw["metadata"]
        known = (meta["uid"], int(meta.get("generation") or 1))
        if known not in self.manifests:
            self.manifests = {key: value for key, value in self.manifests.items() if key[0] != meta["uid"]}
            self.manifests[known] = Connector.model_validate(raw)
        return self.manifests[known]


def dependents(cache: Cache, kind: str, obj: dict[str, Any], old: dict[str, Any] | None) -> list[Key]:
    """The keys to reconcile after a change of an object, the object itself included if it is one of ours."""
    meta = obj["metadata"]
    namespace, name = meta.get("namespace", ""), meta["name"]
    keys = [Key(kind, namespace, name)] if kind in ("Connector", "Integration", "SyncJob") else []
    if kind == "Connector":
        if old is None or _essence(old) != _essence(obj):
            keys += [key_of("Integration", one) for one in cache.group("Integration", "", name)]
    elif kind == "Integration":
        if old is None or _essence(old) != _essence(obj):
            keys += [key_of("SyncJob", one) for one in cache.group("SyncJob", namespace, name) if not _finished(one)]
    elif kind == "SyncJob":
        integration = str(obj.get("spec", {}).get("integrationRef", {}).get("name", ""))
        if old is None or _told(old) != _told(obj):
            keys.append(Key("Integration", namespace, integration))
        if old is None or _finished(obj) != _finished(old):  # the next one may start, older failed Jobs may go
            keys += [key_of("SyncJob", one) for one in cache.group("SyncJob", namespace, integration)]
    elif kind in ("Job", "Pod"):
        sync = (meta.get("labels") or {}).get(SYNC_LABEL)
        keys += [Key("SyncJob", namespace, sync)] if sync else []
    return keys


def _essence(obj: dict[str, Any]) -> tuple[object, ...]:
    """What others depend on: the spec, and whether the object is usable, which also says of which spec that is told."""
    meta, status = obj["metadata"], obj.get("status") or {}
    ready = [
        (one.get("status"), one.get("reason")) for one in status.get("conditions") or [] if one.get("type") == "Ready"
    ]
    return meta["uid"], meta.get("generation"), meta.get("deletionTimestamp"), status.get("observedGeneration"), *ready


def _told(sync: dict[str, Any]) -> tuple[object, ...]:
    """What an Integration wants to know of a SyncJob: how far a run is changes every few seconds and is not of it."""
    status = {key: value for key, value in (sync.get("status") or {}).items() if key != "progress"}
    return sync["metadata"]["uid"], sync["metadata"].get("deletionTimestamp"), status


def key_of(kind: str, obj: dict[str, Any]) -> Key:
    return Key(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _finished(sync: dict[str, Any]) -> bool:
    return bool((sync.get("status") or {}).get("completionTime"))
