"""Who changed and asked for what, as far as the API server tells, and the records that a run is handed for its log.

Everything here follows from the objects as they stand, so that a restart of the operator forgets nothing: managed
fields name the tool that wrote a spec or an annotation, a generation names a change, a SyncJob's uid names a run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from towline.api.conditions import ConditionType
from towline.api.syncjob import SyncJob
from towline.contract import MAX_SEEN, REQUESTED_AT, REQUESTED_BY, Activity, Origin
from towline.core import conditions, ends, names, times
from towline.core.facts import SecretFacts, Surroundings

ACTORS = "actors"
"""Key of an object's metadata in the cache: its managed fields in short."""


def actors(managed: Iterable[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Managed fields in short: who wrote the spec or an annotation of ours last, and when. Status does not count."""
    found = []
    for entry in managed or ():
        if entry.get("subresource"):
            continue
        fields = entry.get("fieldsV1") or {}
        notes = (fields.get("f:metadata") or {}).get("f:annotations") or {}
        ours = sorted(name[2:] for name in notes if name.startswith("f:towline.dev/"))
        body = any(part in fields for part in ("f:spec", "f:data", "f:stringData"))
        if body or ours:
            found.append(
                {"manager": str(entry.get("manager", "")), "time": entry.get("time"), "body": body, "annotations": ours}
            )
    return found


def changed_by(meta: Mapping[str, Any]) -> tuple[str, str | None]:
    """The manager that wrote the object's spec or data last, and when; the creation where nothing is known."""
    known = [entry for entry in meta.get(ACTORS) or () if entry["body"]]
    newest = max(known, key=lambda entry: entry["time"] or "", default=None)
    if newest is None:
        return "", meta.get("creationTimestamp")
    return newest["manager"], newest["time"] or meta.get("creationTimestamp")


def requested_by(meta: Mapping[str, Any]) -> str:
    """Who set the annotation requested-at: the person that the same tool names in requested-by, or the tool."""
    known: list[dict[str, Any]] = list(meta.get(ACTORS) or ())
    tools = [entry["manager"] for entry in known if REQUESTED_AT in entry["annotations"]]
    person = str((meta.get("annotations") or {}).get(REQUESTED_BY) or "")
    said_by = [entry["manager"] for entry in known if REQUESTED_BY in entry["annotations"]]
    tool = tools[0] if tools else ""
    # A name that another tool left behind speaks of an earlier request.
    return f"{person} ({tool})"[:256] if person and tool in said_by else tool[:256]


def actor_of(sync: SyncJob, integration: Mapping[str, Any], around: Surroundings, secret: SecretFacts | None) -> str:
    """Who or what started a SyncJob."""
    match sync.spec.trigger:
        case "Schedule":
            return "schedule"
        case "Webhook":
            return "webhook"
        case "CredentialsRotated":
            return secret.changed_by if secret else ""
        case "SpecChange":
            connector = around.connector.metadata if around.connector else {}
            whose = max(changed_by(integration), changed_by(connector), key=lambda found: found[1] or "")
            return whose[0]
    if person := str((sync.metadata.get("annotations") or {}).get(REQUESTED_BY) or ""):  # of `towline sync --stream`
        tool = changed_by(sync.metadata)[0]
        return f"{person} ({tool})"[:256] if tool else person[:256]
    token = str((integration.get("annotations") or {}).get(REQUESTED_AT) or "")[:64]
    name = str(sync.metadata.get("name"))
    if token and name == names.requested(str(integration.get("name")), token):
        return requested_by(integration)
    if sync.metadata.get("ownerReferences"):
        return ""  # of an earlier request, whose annotation has another value by now
    return changed_by(sync.metadata)[0]  # made by hand


def origin(
    sync: SyncJob, actor: str, seen: Iterable[Activity], before: Iterable[Activity], keep_days: int, now: datetime
) -> Origin:
    """What a plan says of why the run was started, of the time before it, and of the ends of syncs `before` it."""
    known = list(seen)
    checks = [entry for entry in known if entry.kind == "Check" and entry.trigger == "Probe"][-MAX_SEEN:]
    # Checks go first, then ends of syncs: who changed what can be told again from the objects.
    chosen, until = ends.told(before, MAX_SEEN - len(checks), now)
    room = MAX_SEEN - len(checks) - len(chosen)
    others = sorted((entry for entry in known if entry not in checks), key=lambda entry: entry.time)
    told = sorted([*checks, *chosen, *others[len(others) - min(room, len(others)) :]], key=lambda entry: entry.time)
    return Origin(trigger=sync.spec.trigger, actor=actor[:256], keep_days=keep_days, seen=told, ends_until=until)


def change(
    kind: str, meta: Mapping[str, Any], spec: Mapping[str, Any] | None, now: datetime, about: str = ""
) -> Activity:
    """The newest change of an object. `about`: the uid of the Integration that it matters to, where it is another."""
    manager, when = changed_by(meta)
    generation = int(meta.get("generation") or 1)
    detail: dict[str, Any] = {"generation": generation}
    if spec is not None:
        detail["digests"] = {name: digest(value) for name, value in spec.items() if value is not None}
    return Activity(
        id="/".join(part for part in ("change", str(meta["uid"]), str(generation), about) if part),
        kind="Change",
        time=when or times.text(now),
        object=f"{kind}/{meta['name']}",
        trigger="Created" if generation == 1 else "Changed",
        actor=manager[:256],
        correlation=f"{meta['uid']}/{generation}"[:128],
        detail=detail,
    )


def rotation(name: str, facts: SecretFacts, about: str, now: datetime) -> Activity:
    """The newest version of the Secret with the credentials: when and by whom, never what."""
    return Activity(
        id=f"change/{facts.version}/{about}",
        kind="Change",
        time=facts.changed_time or times.text(now),
        object=f"Secret/{name}",
        trigger="Changed",
        actor=facts.changed_by[:256],
        correlation=facts.version[:128],
    )


def ended(sync: SyncJob) -> Activity | None:
    """The end of a SyncJob, for what its runs could not record themselves; None before its end."""
    status, meta = sync.status, sync.metadata
    if status is None or not status.completion_time:
        return None
    summary = conditions.find(status.conditions, ConditionType.SUCCEEDED)
    attempt = status.attempts or 0
    check = sync.spec.mode == "Check"
    return Activity(
        id=f"run/{meta['uid']}/{attempt}",
        kind="Check" if check else "Run",
        time=status.start_time or str(meta.get("creationTimestamp")),
        finished=status.completion_time,
        object=f"SyncJob/{meta['name']}",
        trigger=sync.spec.trigger,
        actor=status.actor or "",
        outcome=summary.reason if summary else "",
        message=summary.message[:600] if summary else "",
        records=status.totals.read if status.totals else None,
        correlation=f"{meta['uid']}/{attempt}"[:128],
        detail={"attempt": attempt, "told_by": "operator"},
    )


def attempted(sync: SyncJob) -> Activity | None:
    """The attempt before the one that starts now, for when its pod could not record it; None if there is none."""
    status, meta = sync.status, sync.metadata
    if status is None or not status.attempts or status.completion_time:
        return None
    cause = conditions.find(status.conditions, ConditionType.RECONCILING)
    return Activity(
        id=f"run/{meta['uid']}/{status.attempts}",
        kind="Check" if sync.spec.mode == "Check" else "Run",
        time=status.start_time or str(meta.get("creationTimestamp")),
        object=f"SyncJob/{meta['name']}",
        trigger=sync.spec.trigger,
        actor=status.actor or "",
        outcome=cause.reason if cause else "",
        message=cause.message[:600] if cause else "",
        correlation=f"{meta['uid']}/{status.attempts}"[:128],
        detail={"attempt": status.attempts, "told_by": "operator"},
    )


def digest(value: Any) -> str:
    """Tells whether two values are the same, and nothing about them."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]
