"""A small world for the pure reconcilers: it keeps objects, carries out actions, and can crash between any two.

It stands for the API server only in what the decisions rely on: names are unique, a status write with an old
version is refused, deleting an owner deletes what it owns.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from tests.unit.core.build import SETTINGS, around, checked

from towline.api.integration import Integration
from towline.api.syncjob import SyncJob
from towline.core import actions as act
from towline.core import history, names
from towline.core.checks import Ledger
from towline.core.facts import SecretFacts
from towline.core.health import Track
from towline.core.integrations import reconcile_integration
from towline.core.planner import IntegrationSnapshot
from towline.core.pods import JobFacts, PodFacts
from towline.core.runs import run_of, unfinished
from towline.core.syncjobs import SyncSnapshot, reconcile_sync
from towline.core.times import text


class CrashError(Exception):
    """The operator was killed here."""


@dataclass
class World:
    now: datetime
    integration: dict[str, Any]
    secret: SecretFacts
    syncs: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, JobFacts] = field(default_factory=dict)
    ended: dict[str, PodFacts] = field(default_factory=dict)
    """The pod of a Job, once it has ended."""
    created: list[str] = field(default_factory=list)
    """Every SyncJob ever made, in order."""
    job_names: list[str] = field(default_factory=list)
    """Every Job ever made, in order."""
    events: list[act.Emit] = field(default_factory=list)
    writes: int = 0
    crash_in: int | None = None
    """Crash after so many more actions; None: never."""
    slots: int = 10
    health: Track | None = None
    checks: Ledger = field(default_factory=Ledger)

    def settle(self, rounds: int = 12) -> datetime | None:
        """Reconcile everything until nothing changes; returns when time alone will change something."""
        for _ in range(rounds):
            before = self.writes
            again = [self.step_integration()]
            again += [self.step_sync(name) for name in sorted(self.syncs)]
            if self.writes == before:
                return act.earliest(*again)
        raise AssertionError("the world does not come to rest")

    def step_integration(self) -> datetime | None:
        subject = Integration.model_validate(self.integration)
        runs = tuple(run_of(SyncJob.model_validate(sync)) for sync in self.syncs.values())
        secrets = {"acme-api": self.secret}
        snapshot = IntegrationSnapshot(
            subject, checked(subject, secrets=secrets), around(secrets=secrets), runs, self.health, checks=self.checks
        )
        decision = reconcile_integration(snapshot, self.now)
        self._perform(decision.actions, self.integration)
        return decision.look_again

    def step_sync(self, name: str) -> datetime | None:
        if name not in self.syncs:
            return None
        sync = SyncJob.model_validate(self.syncs[name])
        subject = Integration.model_validate(self.integration)
        runs = [run_of(SyncJob.model_validate(other)) for other in self.syncs.values()]
        waiting = unfinished(runs)
        secrets = {"acme-api": self.secret}
        newer = max(waiting, key=lambda run: (run.created, run.name), default=None)
        replaced = subject.spec.concurrency_policy == "Replace" and newer is not None and newer.name != name
        snapshot = SyncSnapshot(
            sync=sync,
            integration=subject,
            checked=checked(subject, secrets=secrets),
            around=around(secrets=secrets),
            jobs=self._of(self.jobs, name),
            pods=self._of(self.ended, name),
            ahead="" if replaced or not waiting or waiting[0].name == name else waiting[0].name,
            replaced_by=newer.name if replaced and newer is not None and not sync_finished(sync) else "",
            slot=self.slots > 0,
            keep_failed_job=history.newest_failed(runs) == name,
        )
        decision = reconcile_sync(snapshot, self.now, SETTINGS)
        self._perform(decision.actions, self.syncs[name])
        return decision.look_again

    def end(self, job: str, pod: PodFacts) -> None:
        """The pod of a Job ends."""
        self.ended[job] = pod

    def finish(self, sync: str, succeeded: bool = True, reason: str = "Completed", **status: Any) -> None:
        """A shortcut for tests of Integrations: the SyncJob has run, for a second at least."""
        self.now += timedelta(seconds=1)
        condition = {
            "type": "Succeeded",
            "status": "True" if succeeded else "False",
            "reason": reason,
            "message": reason,
            "lastTransitionTime": text(self.now),
        }
        self.syncs[sync]["status"] = {
            "startTime": text(self.now),
            "completionTime": text(self.now),
            "attempts": 1,
            "integrationGeneration": self.integration["metadata"]["generation"],
            "connectorGeneration": 1,
            "credentialsVersion": self.secret.version,
            "conditions": [condition],
            **status,
        }

    def pass_time(self, **span: float) -> None:
        self.now += timedelta(**span)

    def ready(self) -> tuple[str, str]:
        condition = self.condition("Ready")
        return condition["status"], condition["reason"]

    def condition(self, type_: str) -> dict[str, Any]:
        conditions = self.integration.get("status", {}).get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {"status": "", "reason": "", "message": ""})

    def _of(self, found: dict[str, Any], sync: str) -> dict[int, Any]:
        attempts = {names.attempt_of(name, sync): value for name, value in found.items()}
        return {attempt: value for attempt, value in attempts.items() if attempt is not None}

    def _perform(self, actions: list[act.Action], subject: dict[str, Any]) -> None:
        for action in actions:
            if isinstance(action, act.CountRun | act.CountAttempt | act.CountStart | act.CountMissed):
                continue
            if self.crash_in is not None:
                if self.crash_in == 0:
                    self.crash_in = None
                    raise CrashError
                self.crash_in -= 1
            self._do(action, subject)

    def _do(self, action: act.Action, subject: dict[str, Any]) -> None:
        match action:
            case act.PatchStatus(status):
                if subject.get("status") != status:
                    subject["status"] = deepcopy(status)
                    self.writes += 1
            case act.CreateSync(body):
                self._create_sync(body)
            case act.DeleteSync(name, _):
                if self.syncs.pop(name, None) is not None:
                    self.writes += 1
                for job in [job for job in self.jobs if names.attempt_of(job, name) is not None]:
                    del self.jobs[job]
            case act.CreateJob(body):
                name = body["metadata"]["name"]
                if name not in self.jobs:
                    self.jobs[name] = JobFacts(name, f"uid-{name}", self.now, {})
                    self.job_names.append(name)
                    self.writes += 1
            case act.DeleteJob(name, _):
                if self.jobs.pop(name, None) is not None:
                    self.writes += 1
            case act.Emit():
                self.events.append(action)

    def _create_sync(self, body: dict[str, Any]) -> None:
        name = body["metadata"]["name"]
        if name in self.syncs:
            return
        made = deepcopy(body)
        made["metadata"] |= {
            "uid": f"uid-{name}-{len(self.created)}",
            "resourceVersion": str(len(self.created)),
            "generation": 1,
            "creationTimestamp": text(self.now),
        }
        self.syncs[name] = made
        self.created.append(name)
        self.writes += 1


def sync_finished(sync: SyncJob) -> bool:
    return bool(sync.status and sync.status.completion_time)
