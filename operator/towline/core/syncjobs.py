"""What a SyncJob needs next. Pure: the same snapshot and moment always give the same actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from towline.api.conditions import ConditionType, Reason
from towline.api.integration import Integration
from towline.api.syncjob import Progress, SyncJob, SyncJobStatus, Totals
from towline.contract import Origin
from towline.core import attempts, cancel, jobspec, syncstatus, times
from towline.core.actions import (
    Action,
    CountAttempt,
    CountRun,
    CountStart,
    CreateJob,
    Decision,
    DeleteJob,
    Emit,
    EnsureClaim,
    PatchStatus,
    Slot,
)
from towline.core.attempts import Kind, Outcome, Waiting
from towline.core.conditions import find, sentence
from towline.core.facts import RunSettings, Surroundings
from towline.core.plan import PlanTooLargeError, build_plan
from towline.core.pods import JobFacts, PodFacts
from towline.core.slots import Place
from towline.core.validate import Problem, View

GRACE = timedelta(seconds=60)
"""How long a SyncJob waits for its Integration, which may arrive after it from the same `kubectl apply`."""
QUEUE_NEWS = timedelta(seconds=30)
"""How old, at least, the place in the queue that a status shows may be."""
_LAST_WORDS = timedelta(seconds=5)
_SHORT_GRACE = timedelta(seconds=10)
_DEFAULT_ATTEMPTS = 4


@dataclass(frozen=True)
class SyncSnapshot:
    """Everything that a decision about a SyncJob depends on."""

    sync: SyncJob
    integration: Integration | None = None
    checked: View | Problem | None = None
    """None while the Integration or its Connector has not been checked yet."""
    around: Surroundings = field(default_factory=Surroundings)
    jobs: Mapping[int, JobFacts] = field(default_factory=dict)
    pods: Mapping[int, PodFacts] = field(default_factory=dict)
    ahead: str = ""
    """Another SyncJob of the Integration that goes first."""
    replaced_by: str = ""
    """A newer SyncJob, where concurrencyPolicy is Replace."""
    slot: bool = False
    place: Place | None = None
    """Where it stands in the queue for a slot; None where that was told a moment ago."""
    origin: Origin | None = None
    """Why it was started and what happened before; known when it may start."""
    keep_failed_job: bool = True
    """Whether this is the newest failed run of its Integration."""
    progress: Progress | None = None
    """What the pod of the present attempt told last; None if it told nothing lately."""


def reconcile_sync(s: SyncSnapshot, now: datetime, settings: RunSettings) -> Decision:
    """Decide about one SyncJob."""
    status = s.sync.status or SyncJobStatus()
    if s.sync.metadata.get("deletionTimestamp"):
        return Decision()
    if status.completion_time:
        return Decision(_cleanup(s, status))
    if cancel.asked(s.sync):
        return _cancel(s, status, now, settings)
    if s.replaced_by:
        return _end(s, False, Reason.REPLACED, f'"{s.replaced_by}" replaced it', now, stop=True)
    if s.integration is None:
        return _orphan(s, status, now)
    if status.attempts and not status.next_attempt_time:
        return _observe(s, s.integration, status, now, settings)
    return _start(s, s.integration, status, now, settings)


def _start(
    s: SyncSnapshot, integration: Integration, status: SyncJobStatus, now: datetime, settings: RunSettings
) -> Decision:
    attempt = (status.attempts or 0) + 1
    again = times.moment(status.next_attempt_time)
    if again and again > now and not _corrected(s, integration, status):
        return Decision(_old_jobs(s, status), look_again=again)
    first = attempt == 1
    made = attempt in s.jobs  # by an operator that ended before it could say so: it runs, whatever would keep another
    if first and integration.spec.suspend and not made:
        return _wait(s, Reason.QUEUED, "the Integration is suspended: spec.suspend: false lets it run", now)
    if s.ahead and not made:
        return _wait(s, Reason.QUEUED, f'waits for "{s.ahead}": one sync of an Integration runs at a time', now)
    if s.checked is None:
        return _wait(s, Reason.PENDING, "its Integration is being checked", now, now + timedelta(seconds=5))
    if isinstance(s.checked, Problem):
        until = _created(s, now) + _SHORT_GRACE
        if first and now < until:
            return Decision(look_again=until)
        return _end(s, False, s.checked.reason, s.checked.message, now)
    known = {stream.name for stream in s.checked.streams}
    if unknown := [name for name in s.sync.spec.streams or [] if name not in known]:
        text = f"spec.streams: the Integration does not sync {', '.join(unknown)}, only {', '.join(sorted(known))}"
        return _end(s, False, Reason.CONFIG_INVALID, text, now)
    if not s.slot and not made:
        # Written with a little delay: most syncs get their slot at once and need no extra write.
        waited = now - _created(s, now) >= timedelta(seconds=2)
        if not waited:
            return Decision([], now + timedelta(seconds=2), Slot.WANT)
        return replace(_queue(s, status, now), slot=Slot.WANT)
    return _launch(s, integration, s.checked, status, attempt, now, settings)


def _corrected(s: SyncSnapshot, integration: Integration, status: SyncJobStatus) -> bool:
    """Whether the spec has changed since the attempt that failed: perhaps its cure, so nobody has to wait for the end
    of the pause. A limit of the vendor holds all the same."""
    generation, used = int(integration.metadata.get("generation") or 1), status.integration_generation
    if used is None or used >= generation or integration.spec.suspend or not isinstance(s.checked, View):
        return False
    cause = find(status.conditions, ConditionType.RECONCILING)
    return cause is None or cause.reason != Reason.RATE_LIMITED


def _queue(s: SyncSnapshot, status: SyncJobStatus, now: datetime) -> Decision:
    """Say where it stands. The place moves with every sync that ends: it is written anew now and then."""
    waiting = s.place.waiting if s.place else 0
    again = now + QUEUE_NEWS * max(1.0, waiting / 300)  # ten writes a second, however long the queue is
    if s.place is None or status.attempts:
        return Decision(look_again=again)
    text = f"waits for a slot, number {s.place.position} of {s.place.waiting}: {s.place.reason}"
    written = syncstatus.queued(s.sync, s.place.position, text, now)
    return Decision([PatchStatus(written)], again)


def _launch(
    s: SyncSnapshot,
    integration: Integration,
    view: View,
    status: SyncJobStatus,
    attempt: int,
    now: datetime,
    settings: RunSettings,
) -> Decision:
    try:
        plan = build_plan(s.sync, attempt, integration, view, settings, s.origin)
    except PlanTooLargeError as error:
        return _end(s, False, Reason.CONFIG_INVALID, str(error), now)
    job = jobspec.build_job(s.sync, integration, view, plan, settings)
    changes: dict[str, Any] = {
        "attempts": attempt,
        "next_attempt_time": None,
        "queue_position": None,
        "progress": None,
        "job_ref": {"name": job["metadata"]["name"]},
        "image": jobspec.image_of(view.connector, settings)[0],
        "actor": (s.origin.actor if s.origin else "") or status.actor,
        "start_time": status.start_time or times.text(now),
        "integration_generation": int(integration.metadata.get("generation") or 1),
        "connector_generation": s.around.connector_generation,
        "credentials_version": view.credentials_version or None,
    }
    actions: list[Action] = []
    if not view.destination_secret:
        actions.append(EnsureClaim(jobspec.build_claim(plan.sync.namespace, settings)))
    actions.append(CreateJob(job))
    message = "its pod is being made" if attempt == 1 else f"attempt {attempt}: its pod is being made"
    actions.append(PatchStatus(syncstatus.under_way(s.sync, Reason.PENDING, message, now, changes)))
    if attempt == 1:
        actions.append(Emit("Normal", "SyncStarted", f"Started Job {job['metadata']['name']}"))
        actions.append(CountStart((now - _created(s, now)).total_seconds()))
    return Decision(actions, look_again=now + timedelta(seconds=60), slot=Slot.HOLD)


def _observe(
    s: SyncSnapshot, integration: Integration, status: SyncJobStatus, now: datetime, settings: RunSettings
) -> Decision:
    attempt = status.attempts or 1
    seen = attempts.observe(
        s.jobs.get(attempt), s.pods.get(attempt), str(s.sync.metadata["uid"]), attempt, now, settings
    )
    if isinstance(seen, Waiting):
        prefix = f"attempt {attempt}: " if attempt > 1 else ""
        told = {"progress": s.progress} if s.progress else {}
        written = syncstatus.under_way(s.sync, seen.reason, f"{prefix}{seen.message}", now, told)
        # A Job that a queue of the cluster holds back needs no slot of Towline's: that queue decides.
        slot = Slot.RELEASE if seen.reason is Reason.QUEUED else Slot.HOLD
        return Decision([PatchStatus(written), *_old_jobs(s, status)], seen.look_again, slot)
    failures = status.failures or 0
    disruptions = attempt - failures
    if attempts.counts(seen, disruptions):
        failures += 1
    names = _stream_names(s)
    changes = syncstatus.result_changes(s.sync, seen.result, names)
    changes |= syncstatus.checks_recorded(s.sync, seen.kind is Kind.SUCCESS, s.jobs.get(attempt))
    changes |= syncstatus.activity_recorded(s.sync, seen.result, s.jobs.get(attempt))
    if seen.exit_code is not None:
        changes["exit_code"] = seen.exit_code
    if failures:
        changes["failures"] = failures
    counted: list[Action] = [CountAttempt(seen.result)] if seen.result else []
    if seen.kind is Kind.SUCCESS:
        totals: Totals | None = changes.get("totals", status.totals)
        return _end(s, True, seen.reason, _success_message(s, seen, totals), now, changes, counted)
    if seen.kind is Kind.SUPERSEDED:
        return _end(s, False, Reason.SUPERSEDED, seen.message, now, changes, counted)
    limit = integration.spec.retry.max_attempts if integration.spec.retry else _DEFAULT_ATTEMPTS
    again = attempts.retry_at(seen, failures, disruptions, limit, now)
    if again is None:
        text = seen.message
        if seen.kind in (Kind.TRANSIENT, Kind.RATE_LIMITED, Kind.DISRUPTED) and attempt > 1:
            text = f"{sentence(text)}. Given up after {attempt} attempts"
        return _end(s, False, seen.reason, text, now, changes, counted)
    changes |= {"next_attempt_time": times.text(again), "progress": None}
    moment = "now" if again <= now else f"at {times.clock(again)}"
    counting = f"attempt {attempt} did not count" if seen.kind is Kind.DISRUPTED else f"failure {failures} of {limit}"
    text = f"{sentence(seen.message)}. Tries again {moment} ({counting})"
    written = syncstatus.retrying(s.sync, seen.reason, text, now, changes)
    event = Emit("Normal" if seen.kind is Kind.DISRUPTED else "Warning", "SyncRetrying", f"{seen.reason}: {text}")
    return Decision([PatchStatus(written), event, *counted], look_again=again)


def _cancel(s: SyncSnapshot, status: SyncJobStatus, now: datetime, settings: RunSettings) -> Decision:
    """Stop the pod, wait for its last words, and end: what it committed stays and is counted."""
    attempt = status.attempts or 0
    job, pod = s.jobs.get(attempt), s.pods.get(attempt)
    match cancel.step(status, job, pod, now):
        case cancel.Step.STOP if job is not None:
            text = "is being cancelled: its pod is being stopped"
            written = syncstatus.under_way(s.sync, Reason.RUNNING, text, now)
            return Decision([PatchStatus(written), DeleteJob(job.name, job.uid)], now + _LAST_WORDS, Slot.HOLD)
        case cancel.Step.WAIT:
            return Decision(look_again=now + _LAST_WORDS, slot=Slot.HOLD)
    seen = attempts.observe(job, pod, str(s.sync.metadata["uid"]), attempt, now, settings) if pod is not None else None
    if not isinstance(seen, Outcome):
        return _end(s, False, Reason.CANCELLED, cancel.WHY, now, stop=True)
    changes = syncstatus.result_changes(s.sync, seen.result, _stream_names(s))
    changes |= syncstatus.checks_recorded(s.sync, seen.kind is Kind.SUCCESS, job)
    changes |= syncstatus.activity_recorded(s.sync, seen.result, job)
    if seen.exit_code is not None:
        changes["exit_code"] = seen.exit_code
    counted: list[Action] = [CountAttempt(seen.result)] if seen.result else []
    totals: Totals | None = changes.get("totals", status.totals)
    if seen.kind is Kind.SUCCESS:  # it was faster
        return _end(s, True, seen.reason, _success_message(s, seen, totals), now, changes, counted)
    text = f"{cancel.WHY}; what it wrote stays: {syncstatus.counted(totals)}" if totals else cancel.WHY
    return _end(s, False, Reason.CANCELLED, text, now, changes, counted, stop=True)


def _orphan(s: SyncSnapshot, status: SyncJobStatus, now: datetime) -> Decision:
    name = s.sync.spec.integration_ref.name
    until = _created(s, now) + GRACE
    if not status.attempts and now < until:
        text = f'Integration "{name}" does not exist in this namespace; waits for it until {times.clock(until)}'
        return _wait(s, Reason.PENDING, text, now, until)
    gone = "was deleted" if status.attempts else "does not exist in this namespace"
    text = f'Integration "{name}" {gone} (kubectl get integrations.towline.dev lists those that exist)'
    return _end(s, False, Reason.INTEGRATION_NOT_FOUND, text, now, stop=True)


def _wait(s: SyncSnapshot, reason: Reason, message: str, now: datetime, look_again: datetime | None = None) -> Decision:
    if s.sync.status and s.sync.status.attempts:  # between two attempts: the cause of the last one stays readable
        return Decision(look_again=look_again)
    return Decision([PatchStatus(syncstatus.waiting(s.sync, reason, message, now))], look_again)


def _end(
    s: SyncSnapshot,
    succeeded: bool,
    reason: Reason,
    message: str,
    now: datetime,
    changes: dict[str, Any] | None = None,
    more: list[Action] | None = None,
    stop: bool = False,
) -> Decision:
    if stop and changes is None:
        changes = syncstatus.activity_unseen(s.sync)
    if s.origin and s.origin.actor and not (s.sync.status and s.sync.status.actor):
        changes = {"actor": s.origin.actor, **(changes or {})}
    written = syncstatus.finished(s.sync, succeeded, reason, message, now, changes)
    started = times.moment(s.sync.status.start_time) if s.sync.status else None
    took = (now - started).total_seconds() if started else None
    actions: list[Action] = [PatchStatus(written), _event(succeeded, reason, message)]
    actions.append(CountRun(s.sync.spec.trigger, str(reason), took))
    actions += more or []
    if stop:
        actions += [DeleteJob(job.name, job.uid) for job in s.jobs.values()]
    return Decision(actions, look_again=now)  # once the end is written, Jobs are cleaned up


def _event(succeeded: bool, reason: Reason, message: str) -> Emit:
    text = f"{reason}: {sentence(message)}"
    if succeeded:
        name = "SyncPartiallyCompleted" if reason is Reason.PARTIALLY_COMPLETED else "SyncCompleted"
        return Emit("Warning" if reason is Reason.PARTIALLY_COMPLETED else "Normal", name, sentence(message))
    if reason in (Reason.REPLACED, Reason.CANCELLED, Reason.SUPERSEDED):
        return Emit("Normal", f"Sync{reason}", sentence(message))
    names = {Reason.DEADLINE_EXCEEDED: "SyncDeadlineExceeded", Reason.RESULT_LOST: "SyncResultLost"}
    return Emit("Warning", names.get(reason, "SyncFailed"), text)


def _success_message(s: SyncSnapshot, seen: Outcome, totals: Totals | None) -> str:
    if s.sync.spec.mode == "Check":
        partly = seen.reason is Reason.PARTIALLY_COMPLETED
        return seen.message if partly else "the credentials are accepted and the system answers"
    text = syncstatus.counted(totals)
    return f"{text}. {sentence(seen.message)}" if seen.reason is Reason.PARTIALLY_COMPLETED else text


def _stream_names(s: SyncSnapshot) -> list[str]:
    names = [stream.name for stream in s.around.connector.spec.streams or []] if s.around.connector else []
    if isinstance(s.checked, View):
        names = [stream.name for stream in s.checked.streams]
    return [name for name in names if not s.sync.spec.streams or name in s.sync.spec.streams]


def _old_jobs(s: SyncSnapshot, status: SyncJobStatus) -> list[Action]:
    """Jobs of attempts whose end is recorded and that a newer attempt has followed."""
    current = status.attempts or 0
    return [DeleteJob(job.name, job.uid) for attempt, job in s.jobs.items() if attempt < current]


def _cleanup(s: SyncSnapshot, status: SyncJobStatus) -> list[Action]:
    """After the end no Job stays, except the last one of the newest failed run, for its logs."""
    last = status.attempts or 0
    gone: list[Action] = []
    for attempt, job in s.jobs.items():
        pod = s.pods.get(attempt)
        ended = job.finished or "FailureTarget" in job.conditions or (pod is not None and pod.exit_code is not None)
        if attempt != last or not s.keep_failed_job or not ended:
            gone.append(DeleteJob(job.name, job.uid))
    return gone


def _created(s: SyncSnapshot, now: datetime) -> datetime:
    return times.moment(s.sync.metadata.get("creationTimestamp")) or now
