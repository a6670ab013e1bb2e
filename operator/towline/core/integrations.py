"""What an Integration needs next: its status, the run that is due, the history that goes."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from towline.api.base import API_VERSION
from towline.api.conditions import ConditionType, Reason
from towline.api.integration import Integration, IntegrationStatus
from towline.contract import FULL_AT, REQUESTED_AT
from towline.core import expiry, health, history, names, recent, times
from towline.core import status as states
from towline.core.actions import Action, CountMissed, CreateSync, Decision, DeleteSync, Emit, PatchStatus, earliest
from towline.core.conditions import Wanted, find, settle
from towline.core.expiry import Expiry, What
from towline.core.facts import CONNECTOR_LABEL, INTEGRATION_LABEL, MANAGED_BY, MANAGER, TRIGGER_LABEL, Surroundings
from towline.core.health import Track
from towline.core.runs import Run, unfinished
from towline.core.schedule import due, stale_at
from towline.core.validate import Problem, View

_GRACE = timedelta(seconds=5)
"""What an Integration names may arrive a moment after it, from the same `kubectl apply`."""
_MAY_ARRIVE = {Reason.SECRET_NOT_FOUND, Reason.CONNECTOR_NOT_FOUND}
_MAX_TOKEN = 64
_EXPIRING = {Reason.EXPIRES_SOON, Reason.EXPIRED, Reason.CERTIFICATE_EXPIRES_SOON}


@dataclass(frozen=True)
class IntegrationSnapshot:
    """Everything that a decision about an Integration depends on."""

    integration: Integration
    checked: View | Problem | None
    """None while the Connector has not been checked yet."""
    around: Surroundings = field(default_factory=Surroundings)
    runs: tuple[Run, ...] = ()
    health: Track | None = None
    """What probes say; None where nothing is probed."""


@dataclass
class _Start:
    """A SyncJob to make, and what the status says after it."""

    body: dict[str, Any]
    event: str


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
    active = unfinished(s.runs)
    plan = _Planner(s, before, view, past, said, active, now)
    starts = plan.starts()
    table = view.timetable if view else None
    wanted = states.conditions(before.conditions, problem, said, past, active, table, spec.suspend, now, s.health)
    status = _status(before, past, plan, [run.name for run in active], starts, view)
    ends = _expiries(view, s.health)
    wanted = _worded(before, expiry.warned(wanted, ends, now), s.health)
    if expires := expiry.first(ends, What.CREDENTIALS):
        status["credentials"] = {**status.get("credentials", {}), "expiresAt": times.text(expires.at)}
    told = health.status(s.health) if s.health else None
    if told or before.health:
        status["health"] = told or before.model_dump(mode="json", by_alias=True, exclude_none=True)["health"]
    status["observedGeneration"] = generation
    status["conditions"] = settle(before.conditions, wanted, generation, now)
    actions: list[Action] = [CreateSync(start.body) for start in starts]
    actions.append(PatchStatus(status))
    actions += _expiry_events(before, wanted)
    actions += _events(before, wanted_ready=(wanted[0].status, str(wanted[0].reason), wanted[0].message), plan=plan)
    actions += [Emit("Normal", "SyncScheduled", start.event) for start in starts]
    gone = history.surplus(
        s.runs,
        str(meta.get("uid", "")),
        spec.successful_syncs_history_limit,
        spec.failed_syncs_history_limit,
        times.moment(before.last_schedule_time),
    )
    actions += [DeleteSync(run.name, run.uid) for run in gone]
    stale = stale_at(table, past.last_success) if table and past.last_success and not spec.suspend else None
    again = earliest(plan.next, stale if stale and stale > now else None, expiry.next_look(ends, now))
    return Decision(actions, again)


class _Planner:
    """Which SyncJobs are due. Fills in what the status says of the schedule."""

    def __init__(
        self,
        s: IntegrationSnapshot,
        before: IntegrationStatus,
        view: View | None,
        past: states.History,
        said: states.Verdict | None,
        active: list[Run],
        now: datetime,
    ) -> None:
        self.s, self.before, self.view, self.past, self.said, self.active = s, before, view, past, said, active
        self.now = now
        self.meta = s.integration.metadata
        self.spec = s.integration.spec
        self.name = str(self.meta["name"])
        self.handled = before.last_handled_requested_at
        self.last_schedule = before.last_schedule_time
        self.missed = 0
        self.skipped = False
        self.next: datetime | None = None
        self.effective = view.timetable.text if view and view.timetable else None

    def starts(self) -> list[_Start]:
        """The SyncJobs to make now. None while suspended or while something has to be corrected first."""
        if self.view is None or self.spec.suspend:
            return []
        found = [start for start in (self._requested(), self._after_cure(), self._immediate()) if start]
        scheduled = self._scheduled(busy=bool(found))
        return [*found[:1], *([scheduled] if scheduled else [])]

    def _requested(self) -> _Start | None:
        annotations = self.meta.get("annotations") or {}
        token = str(annotations.get(REQUESTED_AT) or "")[:_MAX_TOKEN]
        if not token or token == self.before.last_handled_requested_at:
            return None
        self.handled = token
        full = str(annotations.get(FULL_AT) or "")[:_MAX_TOKEN] == token
        return self._sync(names.requested(self.name, token), "Manual", f'requested at "{token}"', full=full)

    def _after_cure(self) -> _Start | None:
        if self.said is None or not self.said.cured or self.active or self.view is None:
            return None
        if self.said.spec_changed:
            meta = self.meta
            token = f"{meta.get('uid')}/{meta.get('generation')}/{self.s.around.connector_uid}"
            token += f"/{self.s.around.connector_generation}"
            return self._sync(names.spec_change(self.name, token), "SpecChange", "the spec or the Connector changed")
        name = names.credentials_rotated(self.name, self.view.credentials_version)
        return self._sync(name, "CredentialsRotated", "the Secret changed")

    def _immediate(self) -> _Start | None:
        schedule = self.spec.schedule
        ran_before = self.before.last_schedule_time or self.before.last_sync or self.s.runs
        if schedule is None or not schedule.immediate or ran_before:
            return None
        self.last_schedule = times.text(self.now)
        return self._sync(names.spec_change(self.name, str(self.meta.get("uid"))), "SpecChange", "first sync")

    def _scheduled(self, busy: bool) -> _Start | None:
        table = self.view.timetable if self.view else None
        if table is None or self.spec.schedule is None or (self.said is not None and self.said.stopping):
            return None
        planned = times.moment(self.before.next_schedule_time)
        if self.before.effective_schedule != table.text:
            planned = None
        found = due(table, planned, self.now, self.spec.schedule.starting_deadline_seconds)
        self.next = found.next
        ran = {run.tick for run in self.s.runs if run.tick is not None and planned is not None and run.tick >= planned}
        self.missed = found.missed - len([tick for tick in ran if tick != found.tick])
        if found.tick is None:
            self.missed = max(0, self.missed)
            return None
        others = [run for run in self.active if run.tick != found.tick]
        if found.tick not in ran and (busy or (others and self.spec.concurrency_policy == "Forbid")):
            self.skipped = True
            self.missed = max(0, self.missed) + 1
            return None
        self.missed = max(0, self.missed)
        self.last_schedule = times.text(found.tick)
        return self._sync(
            names.scheduled(self.name, found.tick), "Schedule", f"due at {times.text(found.tick)}", tick=found.tick
        )

    def _sync(self, name: str, trigger: str, event: str, tick: datetime | None = None, full: bool = False) -> _Start:
        labels = {MANAGED_BY: MANAGER, INTEGRATION_LABEL: self.name, TRIGGER_LABEL: trigger.lower()}
        connector = self.spec.connector_ref.name
        if len(connector) <= 63:
            labels[CONNECTOR_LABEL] = connector
        spec: dict[str, Any] = {"integrationRef": {"name": self.name}, "trigger": trigger}
        if tick is not None:
            spec["scheduledTime"] = times.text(tick)
        if full:
            spec["mode"] = "Full"
        body = {
            "apiVersion": API_VERSION,
            "kind": "SyncJob",
            "metadata": {
                "name": name,
                "namespace": self.meta["namespace"],
                "labels": labels,
                "ownerReferences": [
                    {
                        "apiVersion": API_VERSION,
                        "kind": "Integration",
                        "name": self.name,
                        "uid": self.meta["uid"],
                        "controller": True,
                        "blockOwnerDeletion": True,
                    }
                ],
            },
            "spec": spec,
        }
        return _Start(body, f"SyncJob {name}: {event}")


def _status(
    before: IntegrationStatus,
    past: states.History,
    plan: _Planner,
    active: list[str],
    starts: list[_Start],
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


def _events(before: IntegrationStatus, wanted_ready: tuple[str, str, str], plan: _Planner) -> list[Action]:
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
