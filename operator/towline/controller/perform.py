"""How the actions of a decision are carried out, one after another; the first that fails ends it."""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from towline.api.conditions import ConditionType, Reason
from towline.api.integrationstatus import ChecksStatus, SyncEnds
from towline.controller.cache import slim
from towline.controller.context import Context, dependents, key_of
from towline.controller.queue import Key
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
from towline.core.conditions import Wanted, settle
from towline.core.connectors import previous_conditions
from towline.kube.errors import (
    AlreadyExistsError,
    ApiError,
    ConflictError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from towline.kube.resources import BY_KIND, CLAIMS, JOBS, SYNCJOBS

log = logging.getLogger(__name__)
_OURS = frozenset(str(type_) for type_ in ConditionType)
_UNTYPED = 500


class JobRefusedError(Exception):
    """Kubernetes would not have the Job."""

    def __init__(self, cause: RefusedError) -> None:
        super().__init__(str(cause))
        self.cause = cause


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
        try:
            written = await context.client.apply(resource, namespace, name, body, subresource="status")
        except UnavailableError as error:
            if error.status != _UNTYPED:
                raise
            merged = {"metadata": body["metadata"], "status": _merged(obj.get("status"), status)}
            written = await context.client.merge(resource, namespace, name, merged, subresource="status")
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


def _merged(present: Any, status: dict[str, Any]) -> dict[str, Any]:
    """A merge patch that leaves the same behind as server-side apply does, where that cannot work: of an object with a
    stored field of another type than the schema's the API server can make nothing. What others wrote stays."""
    found: dict[str, Any] = present if isinstance(present, dict) else {}
    conditions = found.get("conditions")
    theirs = [
        one
        for one in (conditions if isinstance(conditions, list) else [])
        if isinstance(one, dict) and one.get("type") not in _OURS
    ]
    gone = {key: None for key in found if key not in status}
    return {**gone, **status, "conditions": [*(status.get("conditions") or []), *theirs]}


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
        context.enqueue(key_of("SyncJob", fresh))


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
            metrics.count(metrics.runs, namespace, name, trigger, reason)
            if seconds is not None:
                metrics.duration.labels(connector).observe(seconds)
        case CountStart(seconds):
            metrics.queued.labels(connector).observe(seconds)
        case CountMissed(ticks):
            metrics.count(metrics.missed, namespace, name, amount=ticks)
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


def poisoned(raw: dict[str, Any], sentences: list[str], summary: ConditionType, now: datetime) -> dict[str, Any]:
    """The status of an object that does not fit the models, for example one stored under another version's schema."""
    generation = int(raw["metadata"].get("generation") or 1)
    text = "; ".join(sentences[:5])
    wanted = [
        Wanted(summary, "False", Reason.INVALID_SPEC, text),
        Wanted(ConditionType.STALLED, "True", Reason.INVALID_SPEC, text),
    ]
    status = {
        "observedGeneration": generation,
        "conditions": settle(previous_conditions(raw), wanted, generation, now),
    }
    with suppress(ValidationError, KeyError, TypeError):  # checks that no run has recorded are to be had nowhere else
        status["checks"] = ChecksStatus.model_validate(raw["status"]["checks"]).wire()
    with suppress(ValidationError, KeyError, TypeError):  # and so are ends of syncs that are gone
        status["syncEnds"] = SyncEnds.model_validate(raw["status"]["syncEnds"]).wire()
    return status
