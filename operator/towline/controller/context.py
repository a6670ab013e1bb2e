"""What all reconcilers share, and how their actions are carried out."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from towline.api.conditions import ConditionType, Reason
from towline.api.connector import Connector
from towline.api.syncjob import Progress
from towline.controller.audit import Audit
from towline.controller.cache import Cache, slim
from towline.controller.probes import Prober
from towline.controller.queue import Key
from towline.controller.secretwatch import SecretUsers
from towline.controller.settings import Settings
from towline.core.actions import (
    Action,
    CountAttempt,
    CountMissed,
    CountRun,
    CountStart,
    CreateJob,
    CreateSync,
    DeleteJob,
    DeleteSync,
    Emit,
    EnsureClaim,
    PatchStatus,
)
from towline.core.connectors import Check
from towline.core.facts import SYNC_LABEL
from towline.core.slots import Slots
from towline.kube.client import Client
from towline.kube.errors import AlreadyExistsError, ApiError, ConflictError, NotFoundError, RefusedError
from towline.kube.events import Recorder
from towline.kube.resources import BY_KIND, CLAIMS, JOBS, SYNCJOBS
from towline.kube.secrets import Facts
from towline.metrics import Metrics

log = logging.getLogger(__name__)
_OURS = frozenset(str(type_) for type_ in ConditionType)


class JobRefusedError(Exception):
    """Kubernetes would not have the Job."""

    def __init__(self, cause: RefusedError) -> None:
        super().__init__(str(cause))
        self.cause = cause


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
            keys += [_key("Integration", one) for one in cache.group("Integration", "", name)]
    elif kind == "Integration":
        if old is None or _essence(old) != _essence(obj):
            keys += [_key("SyncJob", one) for one in cache.group("SyncJob", namespace, name) if not _finished(one)]
    elif kind == "SyncJob":
        integration = str(obj.get("spec", {}).get("integrationRef", {}).get("name", ""))
        if old is None or _told(old) != _told(obj):
            keys.append(Key("Integration", namespace, integration))
        if old is None or _finished(obj) != _finished(old):  # the next one may start, older failed Jobs may go
            keys += [_key("SyncJob", one) for one in cache.group("SyncJob", namespace, integration)]
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


async def perform(context: Context, kind: str, obj: dict[str, Any], actions: list[Action]) -> dict[str, Any]:
    """Carry out actions in order; the first that fails ends it. Returns the object as it is after the last write."""
    before = obj
    for action in actions:
        match action:
            case PatchStatus(status):
                obj = await _patch_status(context, kind, obj, status)
            case CreateSync(body):
                await _must_be_current(context, kind, obj)
                await _create_sync(context, obj, body)
            case CreateJob(body):
                await _must_be_current(context, kind, obj)
                await _create_job(context, obj, body)
            case DeleteJob(name, uid):
                await context.client.delete(JOBS, obj["metadata"]["namespace"], name, uid)
            case DeleteSync(name, uid):
                await context.client.delete(SYNCJOBS, obj["metadata"]["namespace"], name, uid)
            case EnsureClaim(body):
                await _ensure_claim(context, body)
            case Emit():
                context.events.emit(obj, action)
            case _:
                _count(context, obj, action)
    context.audit.performed(kind, before, obj, actions, _connector_name(context, kind, obj))
    return obj


def _connector_name(context: Context, kind: str, obj: dict[str, Any]) -> str:
    if kind == "SyncJob":
        name = str(obj.get("spec", {}).get("integrationRef", {}).get("name", ""))
        obj = context.cache.get("Integration", obj["metadata"]["namespace"], name) or {}
    if kind == "Connector":
        return str(obj["metadata"]["name"])
    return str(obj.get("spec", {}).get("connectorRef", {}).get("name", ""))


async def _must_be_current(context: Context, kind: str, obj: dict[str, Any]) -> None:
    """Starting a run cannot be taken back, and its name is no lock once an old one of that name was cleaned up.

    After an old list, or while a watch replays the past, the copy in the cache may be one that was dealt with.
    """
    meta = obj["metadata"]
    place = meta.get("namespace", ""), meta["name"]
    try:
        if await context.client.is_current(BY_KIND[kind], *place, meta["resourceVersion"]):
            return
    except NotFoundError:
        context.cache.drop(kind, obj)
        raise
    await refresh(context, kind, *place)
    raise ConflictError(f"start a run of {kind} {'/'.join(place)}", 0, "the object has changed since it was read")


async def _patch_status(context: Context, kind: str, obj: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
    if ours(obj.get("status") or {}) == ours(status):
        return obj
    resource, meta = BY_KIND[kind], obj["metadata"]
    namespace, name = meta.get("namespace", ""), meta["name"]
    body = {
        "apiVersion": resource.api_version,
        "kind": kind,
        "metadata": {
            "name": name,
            **({"namespace": namespace} if namespace else {}),
            # What protects the write: an object that has changed, or is another one by now, answers 409.
            "resourceVersion": meta["resourceVersion"],
        },
        "status": status,
    }
    try:
        written = await context.client.apply(resource, namespace, name, body, subresource="status")
    except NotFoundError:
        context.cache.drop(kind, obj)
        raise
    except ConflictError:
        await refresh(context, kind, namespace, name)
        raise
    fresh = slim(kind, written)
    old = context.cache.get(kind, namespace, name)
    if context.cache.put(kind, fresh):
        own = Key(kind, namespace, name)
        for key in dependents(context.cache, kind, fresh, old):
            if key != own:
                context.enqueue(key)
    return fresh


async def refresh(context: Context, kind: str, namespace: str, name: str) -> None:
    """Read an object anew into the cache, because the copy there has proved old."""
    try:
        fresh = slim(kind, await context.client.get(BY_KIND[kind], namespace, name))
    except NotFoundError:
        old = context.cache.get(kind, namespace, name)
        if old is not None:
            context.take_out(kind, old)
        return
    context.take_in(kind, fresh)


def ours(status: dict[str, Any]) -> dict[str, Any]:
    """The part of a status that Towline writes, in a form that can be compared."""
    conditions = {
        condition["type"]: condition for condition in status.get("conditions") or [] if condition.get("type") in _OURS
    }
    return {**status, "conditions": conditions}


async def _create_sync(context: Context, obj: dict[str, Any], body: dict[str, Any]) -> None:
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    try:
        made = await context.client.create(SYNCJOBS, namespace, body)
    except AlreadyExistsError:
        made = await context.client.get(SYNCJOBS, namespace, name)
        if not _adoptable(made, obj):
            text = f'SyncJob "{name}" exists and does not belong to this Integration: delete it to let the sync run'
            context.events.emit(obj, Emit("Warning", "SyncAdoptionRefused", text))
            return
    fresh = slim("SyncJob", made)
    if context.cache.put("SyncJob", fresh):
        context.enqueue(_key("SyncJob", fresh))


def _adoptable(made: dict[str, Any], integration: dict[str, Any]) -> bool:
    owner = next((ref for ref in made["metadata"].get("ownerReferences") or [] if ref.get("controller")), None)
    if owner is not None:
        return bool(owner.get("uid") == integration["metadata"]["uid"])
    return bool(made.get("spec", {}).get("integrationRef", {}).get("name") == integration["metadata"]["name"])


async def _create_job(context: Context, obj: dict[str, Any], body: dict[str, Any]) -> None:
    namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
    try:
        made = await context.client.create(JOBS, namespace, body)
    except AlreadyExistsError:
        made = await context.client.get(JOBS, namespace, name)
        owners = {ref.get("uid") for ref in made["metadata"].get("ownerReferences") or []}
        if obj["metadata"]["uid"] not in owners:  # of a SyncJob that was deleted, or not ours at all
            raise
    except RefusedError as error:
        raise JobRefusedError(error) from None
    context.cache.put("Job", slim("Job", made))


async def _ensure_claim(context: Context, body: dict[str, Any]) -> None:
    namespace = body["metadata"]["namespace"]
    seen = context.claims.get(namespace)
    if seen is not None and (context.clock() - seen).total_seconds() < 300:
        return
    try:
        await context.client.get(CLAIMS, namespace, body["metadata"]["name"])
    except NotFoundError:
        try:
            await context.client.create(CLAIMS, namespace, body)
        except AlreadyExistsError:
            log.debug("The volume of namespace %s was made by someone else just now", namespace)
    context.claims[namespace] = context.clock()


def _count(context: Context, obj: dict[str, Any], action: Action) -> None:
    meta, metrics = obj["metadata"], context.metrics
    namespace = meta.get("namespace", "")
    name = str(obj.get("spec", {}).get("integrationRef", {}).get("name") or meta["name"])
    integration = context.cache.get("Integration", namespace, name) or {}
    connector = str(integration.get("spec", {}).get("connectorRef", {}).get("name", ""))
    match action:
        case CountRun(trigger, reason, seconds):
            metrics.runs.labels(namespace, name, trigger, reason).inc()
            if seconds is not None:
                metrics.duration.labels(connector).observe(seconds)
        case CountStart(seconds):
            metrics.queued.labels(connector).observe(seconds)
        case CountMissed(ticks):
            metrics.missed.labels(namespace, name).inc(ticks)
        case CountAttempt(result):
            raw = context.cache.get("Connector", "", connector) or {}
            known = {stream.get("name") for stream in raw.get("spec", {}).get("streams") or []}
            metrics.count_result(namespace, name, connector, result, known)


def refusal(error: ApiError, namespace: str) -> str:
    """What to tell when Kubernetes will not have a Job."""
    return (
        f"Kubernetes refused the Job ({error.status} {error.reason}): a quota or an admission policy of the namespace"
        f" may be why (kubectl -n {namespace} describe quota); Towline keeps trying"
    )


def _key(kind: str, obj: dict[str, Any]) -> Key:
    return Key(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])


def _finished(sync: dict[str, Any]) -> bool:
    return bool((sync.get("status") or {}).get("completionTime"))


def poisoned(raw: dict[str, Any], sentences: list[str], summary: ConditionType, now: datetime) -> dict[str, Any]:
    """The status of an object that does not fit the models, for example one stored under another version's schema."""
    from towline.core.conditions import Wanted, settle
    from towline.core.connectors import previous_conditions

    generation = int(raw["metadata"].get("generation") or 1)
    text = "; ".join(sentences[:5])
    wanted = [
        Wanted(summary, "False", Reason.INVALID_SPEC, text),
        Wanted(ConditionType.STALLED, "True", Reason.INVALID_SPEC, text),
    ]
    return {
        "observedGeneration": generation,
        "conditions": settle(previous_conditions(raw), wanted, generation, now),
    }
