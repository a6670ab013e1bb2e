"""Which SyncJobs an Integration needs now, and what its status says of the schedule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from towline.api.base import API_VERSION
from towline.api.integration import Integration
from towline.api.integrationstatus import IntegrationStatus
from towline.contract import FULL_AT, REQUESTED_AT
from towline.core import names, times
from towline.core import status as states
from towline.core.checks import Ledger
from towline.core.facts import CONNECTOR_LABEL, INTEGRATION_LABEL, MANAGED_BY, MANAGER, TRIGGER_LABEL, Surroundings
from towline.core.health import Track
from towline.core.runs import Run
from towline.core.schedule import due
from towline.core.validate import Problem, View

_MAX_TOKEN = 64


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
    rotated: bool = False
    """The Secret with the credentials has just changed."""
    checks: Ledger = field(default_factory=Ledger)
    """Probes that no run has recorded yet."""


@dataclass
class Start:
    """A SyncJob to make, and what the status says after it."""

    body: dict[str, Any]
    event: str


class Planner:
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

    def starts(self) -> list[Start]:
        """The SyncJobs to make now. None while suspended or while something has to be corrected first."""
        if self.view is None or self.spec.suspend:
            return []
        found = [start for start in self._occasions() if start]
        scheduled = self._scheduled(busy=bool(found))
        return [*found[:1], *([scheduled] if scheduled else [])]

    def _occasions(self) -> Iterator[Start | None]:
        yield self._requested()
        yield self._after_cure()
        yield self._immediate()
        yield self._after_rotation()

    def _requested(self) -> Start | None:
        annotations = self.meta.get("annotations") or {}
        token = str(annotations.get(REQUESTED_AT) or "")[:_MAX_TOKEN]
        if not token or token == self.before.last_handled_requested_at:
            return None
        self.handled = token
        full = str(annotations.get(FULL_AT) or "")[:_MAX_TOKEN] == token
        return self._sync(
            names.requested(self.name, token), "Manual", f'requested at "{token}"', mode="Full" if full else ""
        )

    def _after_cure(self) -> Start | None:
        if self.said is None or not self.said.cured or self.active or self.view is None:
            return None
        if self.said.spec_changed:
            meta = self.meta
            token = f"{meta.get('uid')}/{meta.get('generation')}/{self.s.around.connector_uid}"
            token += f"/{self.s.around.connector_generation}"
            return self._sync(names.spec_change(self.name, token), "SpecChange", "the spec or the Connector changed")
        if self.s.health is not None and self.s.health.tested != self.view.credentials_version:
            return None  # a probe comes first: where it is refused, no run has to be
        name = names.credentials_rotated(self.name, self.view.credentials_version)
        return self._sync(name, "CredentialsRotated", "the Secret changed")

    def _after_rotation(self) -> Start | None:
        """Other credentials than those that were last accepted are tried before a sync needs them: by a probe in the
        operator where there is one, else by a run that only checks. After a failure the next sync tries them."""
        used, view, said = self.past.credentials_version, self.view, self.said
        if view is None or not used or used == view.credentials_version or self.s.health is not None:
            return None
        if self.active or self.past.failures or (said is not None and (said.cured or said.stopping)):
            return None
        name = names.credentials_rotated(self.name, view.credentials_version)
        return self._sync(name, "CredentialsRotated", "the Secret changed: its credentials are checked", mode="Check")

    def _immediate(self) -> Start | None:
        schedule = self.spec.schedule
        ran_before = self.before.last_schedule_time or self.before.last_sync or self.s.runs
        if schedule is None or not schedule.immediate or ran_before:
            return None
        self.last_schedule = times.text(self.now)
        return self._sync(names.spec_change(self.name, str(self.meta.get("uid"))), "SpecChange", "first sync")

    def _scheduled(self, busy: bool) -> Start | None:
        table = self.view.timetable if self.view else None
        if table is None or self.spec.schedule is None or (self.said is not None and self.said.stopping):
            return None
        planned = times.moment(self.before.next_schedule_time)
        if self.before.effective_schedule != table.text:
            planned = None
        since = self.now
        if planned is None and table.every is not None:
            # An interval's ticks have a phase of their own: the first of them not seconds after another sync.
            started = [self.now] if busy else [run.created for run in self.s.runs]
            since = max([since, *(start + table.every / 2 for start in started)])
        found = due(table, planned, since, self.spec.schedule.starting_deadline_seconds)
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

    def _sync(self, name: str, trigger: str, event: str, tick: datetime | None = None, mode: str = "") -> Start:
        labels = {MANAGED_BY: MANAGER, INTEGRATION_LABEL: self.name, TRIGGER_LABEL: trigger.lower()}
        connector = self.spec.connector_ref.name
        if len(connector) <= 63:
            labels[CONNECTOR_LABEL] = connector
        spec: dict[str, Any] = {"integrationRef": {"name": self.name}, "trigger": trigger}
        if tick is not None:
            spec["scheduledTime"] = times.text(tick)
        if mode:
            spec["mode"] = mode
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
        return Start(body, f"SyncJob {name}: {event}")
