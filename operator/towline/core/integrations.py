"""What an Integration needs next: its status, the run that is due, the history that goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from towline.api.conditions import ConditionType, Reason
from towline.api.integrationstatus import IntegrationStatus
from towline.core import checks, ends, expiry, health, history, recent, times
from towline.core import status as states
from towline.core.actions import Action, CountMissed, CreateSync, Decision, DeleteSync, Emit, PatchStatus, earliest
from towline.core.conditions import Wanted, find, settle
from towline.core.expiry import Expiry, What
from towline.core.health import Track
from towline.core.planner import IntegrationSnapshot, Planner, Start
from towline.core.runs import unfinished
from towline.core.schedule import stale_at
from towline.core.validate import Problem, View

_GRACE = timedelta(seconds=5)
"""What an Integration names may arrive a moment after it, from the same `kubectl apply`."""
_MAY_ARRIVE = {Reason.SECRET_NOT_FOUND, Reason.CONNECTOR_NOT_FOUND}
_EXPIRING = {Reason.EXPIRES_SOON, Reason.EXPIRED, Reason.CERTIFICATE_EXPIRES_SOON}


def reconcile_integration(s: IntegrationSnapshot, now: datetime) -> Decision:
    """Decide about one Integration."""
    meta, spec = s.integration.metadata, s.integration.spec
    if meta.get("deletionTimestamp") or s.checked is None:
        return Decision()
    created = times.moment(meta.get("creationTimestamp")) or now
    problem = s.checked if isinstance(s.checked, Problem) else None
    if problem and problem.reason in _MAY_ARRIVE and now < created + _GRACE:
        return Decision(look_again=min(created + _GRACE, now + timedelta(seconds=1)))
    before = s.integration.status or IntegrationStatus()
    view = s.checked if isinstance(s.checked, View) else None
    past = states.account(before, s.runs)
    generation = int(meta.get("generation") or 1)
    said = states.verdict(
        before, past, generation, s.around.connector_generation, view.credentials_version if view else ""
    )
    if said and view and s.health and s.health.refused == view.credentials_version and not said.spec_changed:
        said = replace(said, current=True)  # a probe has tried the new credentials: no run has to be refused as well
    active = unfinished(s.runs)
    plan = Planner(s, before, view, past, said, active, now)
    starts = plan.starts()
    table = view.timetable if view else None
    wanted = states.conditions(before.conditions, problem, said, past, active, table, spec.suspend, now, s.health)
    status = _status(before, past, plan, [run.name for run in active], starts, view)
    expiries = _expiries(view, s.health)
    wanted = _worded(before, expiry.warned(wanted, expiries, now), s.health)
    if expires := expiry.first(expiries, What.CREDENTIALS):
        status["credentials"] = {**status.get("credentials", {}), "expiresAt": times.text(expires.at)}
    told = health.status(s.health) if s.health else None
    if told or before.health:
        status["health"] = told or before.model_dump(mode="json", by_alias=True, exclude_none=True)["health"]
    if found := checks.status(checks.recorded(s.checks, checks.recorded_until(s.runs))):
        status["checks"] = found
    status["observedGeneration"] = generation
    status["conditions"] = settle(before.conditions, wanted, generation, now)
    surplus = history.surplus(
        s.runs,
        str(meta.get("uid", "")),
        spec.successful_syncs_history_limit,
        spec.failed_syncs_history_limit,
        times.moment(before.last_schedule_time),
    )
    pruned = ends.prune(before.sync_ends, s.runs, surplus)
    if pruned.status:
        status["syncEnds"] = pruned.status.wire()
    actions: list[Action] = [CreateSync(start.body) for start in starts]
    actions.append(PatchStatus(status))
    actions += _expiry_events(before, wanted)
    actions += _events(before, wanted_ready=(wanted[0].status, str(wanted[0].reason), wanted[0].message), plan=plan)
    actions += [Emit("Normal", "SyncScheduled", start.event) for start in starts]
    actions += [DeleteSync(run.name, run.uid) for run in pruned.gone]
    stale = stale_at(table, past.last_success) if table and past.last_success and not spec.suspend else None
    again = earliest(plan.next, stale if stale and stale > now else None, expiry.next_look(expiries, now))
    return Decision(actions, again)


def _status(
    before: IntegrationStatus,
    past: states.History,
    plan: Planner,
    active: list[str],
    starts: list[Start],
    view: View | None,
) -> dict[str, Any]:
    running = list(dict.fromkeys([*active, *(start.body["metadata"]["name"] for start in starts)]))
    missed = (before.missed_schedules or 0) + plan.missed
    status: dict[str, Any] = {
        "lastHandledRequestedAt": plan.handled,
        "effectiveSchedule": plan.effective,
        "nextScheduleTime": times.text(plan.next) if plan.next else None,
        "lastScheduleTime": plan.last_schedule,
        "lastSuccessfulTime": times.text(past.last_success) if past.last_success else None,
        "lastFailureTime": times.text(past.last_failure) if past.last_failure else None,
        "consecutiveFailures": past.failures,
        "missedSchedules": missed or None,
        "recent": recent.status(past.hours),
        "active": [{"name": name} for name in running[:10]] or None,
        "lastSync": {"name": past.last_name, "reason": past.last_reason} if past.last_name else None,
        "streams": [stream.model_dump(mode="json", by_alias=True, exclude_none=True) for stream in past.streams]
        or None,
    }
    if view is None:  # a check that failed says nothing of the schedule; a cure must not count as another one
        status["effectiveSchedule"] = before.effective_schedule
    if past.credentials_version:
        status["credentials"] = {"observedVersion": past.credentials_version}
        if past.checked:
            status["credentials"]["checkedTime"] = times.text(past.checked)
    return {key: value for key, value in status.items() if value is not None}


def _expiries(view: View | None, track: Track | None) -> tuple[Expiry, ...]:
    written = (expiry.annotated(view.expires),) if view and view.expires else ()
    return (*written, *(track.expiries if track else ()))


def _worded(before: IntegrationStatus, wanted: list[Wanted], track: Track | None) -> list[Wanted]:
    """Until the first probe after a restart only dates are known: what was said stays, so nothing is written."""
    if track is None or track.last is not None:
        return wanted
    told = {one.type: one for one in before.conditions or []}
    return [
        replace(one, message=told[one.type].message)
        if one.reason in _EXPIRING and one.type in told and told[one.type].reason == one.reason
        else one
        for one in wanted
    ]


def _expiry_events(before: IntegrationStatus, wanted: list[Wanted]) -> list[Action]:
    events: list[Action] = []
    for one in wanted:
        old = find(before.conditions, ConditionType(one.type))
        if old is not None and old.reason == one.reason:
            continue
        if one.reason in (Reason.EXPIRES_SOON, Reason.EXPIRED):
            events.append(Emit("Warning", f"Credentials{one.reason}", one.message))
        elif one.reason == Reason.CERTIFICATE_EXPIRES_SOON:
            events.append(Emit("Warning", one.reason, one.message))
    return events


def _events(before: IntegrationStatus, wanted_ready: tuple[str, str, str], plan: Planner) -> list[Action]:
    events: list[Action] = []
    old = find(before.conditions, ConditionType.READY)
    status, reason, message = wanted_ready
    if status == "False" and (old is None or old.status != "False" or old.reason != reason):
        events.append(Emit("Warning", reason, message))
    elif status == "True" and old is not None and old.status == "False":
        events.append(Emit("Normal", "Recovered", message))
    scheduled_before, stalled_before = before.next_schedule_time, find(before.conditions, ConditionType.STALLED)
    if plan.spec.suspend and scheduled_before:
        events.append(Emit("Normal", "Suspended", "No new syncs start; spec.suspend: false resumes them"))
    if plan.next and not scheduled_before and before.effective_schedule and not stalled_before and status == "True":
        events.append(Emit("Normal", "Resumed", f"The next sync is due at {times.text(plan.next)}"))
    if plan.s.rotated:
        events.append(
            Emit("Normal", "CredentialsRotated", "The Secret with the credentials has changed; they are checked")
        )
    connector = plan.s.around.connector
    new = before.observed_generation != int(plan.meta.get("generation") or 1)
    if new and connector is not None and connector.spec.stage == "Deprecated":
        name = plan.spec.connector_ref.name
        text = f'Connector "{name}" is deprecated: its documentation says what takes its place'
        events.append(Emit("Warning", "ConnectorDeprecated", text))
    if plan.skipped:
        text = "A scheduled sync was left out, because another was still running (concurrencyPolicy: Forbid)"
        events.append(Emit("Warning", "SyncSkippedConcurrent", text))
    late = plan.missed - (1 if plan.skipped else 0)
    if late > 0:
        text = f"{late} scheduled {'sync was' if late == 1 else 'syncs were'} missed and will not be made up for"
        events.append(Emit("Warning", "SyncSlotMissed", text))
    if plan.missed > 0:
        events.append(CountMissed(plan.missed))
    return events
