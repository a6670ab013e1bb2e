"""The decisions about Integrations and SyncJobs under everything at once: a Hypothesis state machine.

Between any two actions the operator may die; what it sees may be old; the clock may jump; users change, ask, suspend
and delete; pods end in every way. Whatever comes: no tick lost or run twice, one attempt at a time, no Job without its
SyncJob, no status that goes back.

TOWLINE_MACHINE_EXAMPLES makes it look longer. What it found once stays below as an example.
"""

from __future__ import annotations

import os
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from tests.unit.core.build import NOW, SETTINGS, around, integration, result, secret

from towline.api.conditions import Reason
from towline.api.integration import Integration
from towline.api.syncjob import SyncJob
from towline.contract import EXIT_CODES
from towline.core import actions as act
from towline.core import history, names
from towline.core.actions import Slot
from towline.core.integrations import IntegrationSnapshot, reconcile_integration
from towline.core.pods import JobFacts, PodFacts
from towline.core.runs import run_of, unfinished
from towline.core.slots import Limits, Request, Slots
from towline.core.syncjobs import SyncSnapshot, reconcile_sync
from towline.core.times import moment, text
from towline.core.validate import Problem, View, validate

INTEGRATIONS = ("one", "two")
CRONS = {"0 * * * *": 3600, "*/15 * * * *": 900, "*/5 * * * *": 300}
_WRITES = (act.CreateSync, act.DeleteSync, act.CreateJob, act.DeleteJob, act.PatchStatus)
_DIES = st.none() | st.none() | st.integers(0, 4)
EXAMPLES = int(os.environ.get("TOWLINE_MACHINE_EXAMPLES", "30"))
WISHES = [*["sync"] * 4, "suspend or resume", "schedule", "config", "rotate", "delete a sync", "delete and make again"]
ENDS = [reason for reason in EXIT_CODES if reason is not Reason.COMPLETED]


class DiedError(Exception):
    """The operator was killed here."""


class RefusedError(Exception):
    """The API server said 404 or 409: what was decided on was old."""


@dataclass
class Epoch:
    """Since when an Integration's ticks are counted: it begins anew with each change of its schedule."""

    next: datetime
    missed: int
    period: int
    made: int


@dataclass
class Server:
    """What the API server keeps, and what it refuses."""

    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Integrations and SyncJobs by name; the names of the two never meet."""
    jobs: dict[str, JobFacts] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    """Job: uid of its SyncJob."""
    pods: dict[str, PodFacts] = field(default_factory=dict)
    version: int = 0

    def put(self, obj: dict[str, Any]) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)
        self.objects[obj["metadata"]["name"]] = obj

    def current(self, seen: dict[str, Any]) -> dict[str, Any]:
        """The object as it is. Raises RefusedError where that is not what was seen."""
        found = self.objects.get(seen["metadata"]["name"])
        if found is None or found["metadata"]["resourceVersion"] != seen["metadata"]["resourceVersion"]:
            raise RefusedError
        return found

    def remove(self, name: str) -> None:
        """Delete with all that is owned."""
        gone = self.objects.pop(name)
        uid = gone["metadata"]["uid"]
        for other in [one for one in self.objects.values() if _owner(one) == uid]:
            self.remove(other["metadata"]["name"])
        for job in [job for job, owner in self.owners.items() if owner == uid]:
            self.remove_job(job)

    def remove_job(self, name: str) -> None:
        self.jobs.pop(name, None)
        self.owners.pop(name, None)

    def syncs(self, of: str = "") -> list[dict[str, Any]]:
        found = [one for one in self.objects.values() if one["kind"] == "SyncJob"]
        return [one for one in found if not of or one["spec"]["integrationRef"]["name"] == of]


class Operator(RuleBasedStateMachine):
    """The API server, the clock, the users, the nodes; the operator is the code under test."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.server = Server()
        self.past: list[dict[str, dict[str, Any]]] = []
        self.slots = Slots(Limits(1, 0, 0))
        self.secret = 1
        self.requests = 0
        self.uids = 0
        self.made: Counter[tuple[str, str]] = Counter()
        """SyncJobs ever made, by uid of the Integration and tick or name."""
        self.ticks: Counter[str] = Counter()
        """Ticks ever run, by uid of the Integration."""
        self.epochs: dict[str, Epoch] = {}
        self.dies_in: int | None = None

    # -- the world

    @initialize(limit=st.integers(1, 2), policy=st.sampled_from(["Forbid", "Replace"]))
    def begin(self, limit: int, policy: str) -> None:
        self.slots = Slots(Limits(limit, 0, 0))
        self.policy = policy
        for name in INTEGRATIONS:
            self._make(name)
        self.it_comes_to_rest(6)

    def _make(self, name: str) -> None:
        self.uids += 1
        subject = integration(
            schedule={"cron": "0 * * * *", "immediate": False, "jitter": "0s"}, concurrencyPolicy=self.policy
        ).model_dump(mode="json", by_alias=True, exclude_none=True)
        subject |= {"kind": "Integration", "apiVersion": "towline.dev/v1alpha1"}
        subject["metadata"] |= {"name": name, "uid": f"uid-{self.uids}", "creationTimestamp": text(self.now)}
        subject["spec"]["successfulSyncsHistoryLimit"] = 1
        subject["spec"]["failedSyncsHistoryLimit"] = 1
        self.server.put(subject)

    @rule(seconds=st.sampled_from([1, 30, 70, 300, 901, 3700, 40_000]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(seconds=st.integers(1, 1000))
    def the_clock_is_set_back(self, seconds: int) -> None:
        self.now -= timedelta(seconds=seconds)

    # -- users

    @rule(name=st.sampled_from(INTEGRATIONS), what=st.sampled_from(WISHES), data=st.data())
    def somebody_wants_something(self, name: str, what: str, data: st.DataObject) -> None:
        match what:
            case "sync":
                self.requests += 1
                self._edit(name, annotations={"towline.dev/requested-at": f"t{self.requests}"})
            case "suspend or resume":
                self._edit(name, suspend=not self.server.objects[name]["spec"].get("suspend", False))
            case "schedule":
                cron = data.draw(st.sampled_from(sorted(CRONS)))
                self._edit(name, schedule={"cron": cron, "immediate": False, "jitter": "0s"})
            case "config":
                bad = self.server.objects[name]["spec"]["config"]["region"] == "eu"
                self._edit(name, config={"region": "nowhere" if bad else "eu"})
            case "rotate":
                self.secret += 1
            case "delete a sync":
                if found := sorted(one["metadata"]["name"] for one in self.server.syncs(name)):
                    self._remember()
                    self.server.remove(data.draw(st.sampled_from(found)))
            case "delete and make again":
                self._remember()
                self.server.remove(name)
                self.epochs.pop(name, None)
                self._make(name)

    def _edit(self, name: str, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        self._remember()
        subject = deepcopy(self.server.objects[name])
        if annotations:
            subject["metadata"]["annotations"] = annotations
        if spec:
            subject["spec"] |= spec
            subject["metadata"]["generation"] += 1
            self.epochs.pop(name, None)
        self.server.put(subject)

    # -- nodes

    @rule(data=st.data(), reason=st.sampled_from([Reason.COMPLETED, Reason.COMPLETED, *ENDS]))
    def a_pod_ends_with_a_result(self, data: st.DataObject, reason: Reason) -> None:
        if (job := self._running(data)) is not None:
            sync, attempt = self._sync_of(job)
            said = result(str(reason), sync_uid=sync["metadata"]["uid"], attempt=attempt, pod_uid=f"pod-{job}")
            self._end(job, exit_code=int(EXIT_CODES[reason]), message=said.model_dump_json())

    @rule(data=st.data(), end=st.sampled_from(["oom", "crash", "garbage", "evicted", "deleted", "node", "deadline"]))
    def a_pod_ends_without_one(self, data: st.DataObject, end: str) -> None:
        job = self._running(data)
        match end if job is not None else None:
            case "oom":
                self._end(str(job), exit_code=137, ended_by="OOMKilled")
            case "crash":
                self._end(str(job), exit_code=139)
            case "garbage":
                self._end(str(job), exit_code=0, message="{")
            case "evicted":
                self._end(str(job), phase="Failed", disruption="EvictionByEvictionAPI", gone=True)
            case "deleted":
                self._end(str(job), gone=True)
            case "node":
                asked = self.now - timedelta(minutes=5)
                self._end(str(job), phase="Running", disruption="DeletionByTaintManager", deleting_since=asked)
            case "deadline":
                facts = self.server.jobs[str(job)]
                conditions = {"FailureTarget": ("DeadlineExceeded", "", self.now)}
                self.server.jobs[str(job)] = JobFacts(facts.name, facts.uid, facts.created, conditions)

    @rule(data=st.data())
    def a_job_is_deleted(self, data: st.DataObject) -> None:
        if (job := self._running(data)) is not None:
            self.server.remove_job(job)

    def _running(self, data: st.DataObject) -> str | None:
        running = [name for name in sorted(self.server.jobs) if name not in self.server.pods]
        return data.draw(st.sampled_from(running)) if running else None

    def _sync_of(self, job: str) -> tuple[dict[str, Any], int]:
        uid = self.server.owners[job]
        sync = next(one for one in self.server.syncs() if one["metadata"]["uid"] == uid)
        return sync, int(job.rpartition("-")[2])

    def _end(self, job: str, **facts: Any) -> None:
        self.server.pods[job] = PodFacts(**{"name": f"p-{job}", "uid": f"pod-{job}", "phase": "Failed", **facts})

    # -- the operator

    @rule(looks=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3) | st.just(0), _DIES), min_size=1, max_size=8))
    def it_works_a_while(self, looks: list[tuple[int, int, int | None]]) -> None:
        """At which object it looks, how old its view of everything is, and after how many writes it dies."""
        for which, back, dies in looks:
            known = sorted(self._seen(back), key=lambda name: (name not in INTEGRATIONS, name))
            self._work(known[which % len(known)], back, dies)

    def it_restarts(self) -> None:
        """Its memory is gone. Like the operator it fills the slots from the statuses before it works."""
        self.slots = Slots(self.slots.limits)
        for one in self.server.syncs():
            if _running(one):
                self.slots.hold(one["metadata"]["name"])

    @rule(seconds=st.sampled_from([0, 0, 70, 400, 3700]), dies=_DIES)
    def it_comes_to_rest(self, seconds: int, dies: int | None = None) -> None:
        """However often it dies at first."""
        self.now += timedelta(seconds=seconds)
        for name in [*INTEGRATIONS, *sorted(one["metadata"]["name"] for one in self.server.syncs())]:
            self._work(name, 0, dies)
        for _ in range(40):
            before = self.server.version
            for name in [*INTEGRATIONS, *sorted(one["metadata"]["name"] for one in self.server.syncs())]:
                self._work(name, 0, None)
            if self.server.version == before:
                self._account()
                return
        raise AssertionError("it does not come to rest")

    def _work(self, name: str, back: int, dies: int | None) -> None:
        seen = self._seen(back)
        if name not in seen:
            return
        self._remember()
        self.dies_in = dies
        try:
            if seen[name]["kind"] == "Integration":
                self._integration(deepcopy(seen[name]), seen)
            else:
                self._syncjob(deepcopy(seen[name]), seen)
        except DiedError:
            self.it_restarts()
        except RefusedError:
            pass  # its next look is at what is there now
        finally:
            self.dies_in = None

    def _seen(self, back: int) -> dict[str, dict[str, Any]]:
        """What the cache holds: the present, or a state some changes ago."""
        return self.server.objects if not back or len(self.past) < back else self.past[-back]

    def _remember(self) -> None:
        self.past = [*self.past[-5:], deepcopy(self.server.objects)]

    def _integration(self, raw: dict[str, Any], seen: dict[str, dict[str, Any]]) -> None:
        subject = Integration.model_validate(raw)
        runs = tuple(run_of(SyncJob.model_validate(one)) for one in _of(seen, raw["metadata"]["name"]))
        snapshot = IntegrationSnapshot(subject, self._checked(subject), self._around(), runs)
        self._perform(raw, reconcile_integration(snapshot, self.now).actions)

    def _syncjob(self, raw: dict[str, Any], seen: dict[str, dict[str, Any]]) -> None:
        name = raw["metadata"]["name"]
        if _running(raw):
            self.slots.hold(name)
        decision = reconcile_sync(self._snapshot(raw, seen), self.now, SETTINGS)
        parent = raw["spec"]["integrationRef"]["name"]
        if decision.slot is Slot.WANT and self.slots.ask(Request(name, parent, 0)):
            decision = reconcile_sync(self._snapshot(raw, seen), self.now, SETTINGS)
        try:
            self._perform(raw, decision.actions)
        except RefusedError:
            if not _running(raw):
                self.slots.release(name)
            raise
        if decision.slot is Slot.RELEASE:
            self.slots.release(name)

    def _snapshot(self, raw: dict[str, Any], seen: dict[str, dict[str, Any]]) -> SyncSnapshot:
        name, parent = raw["metadata"]["name"], raw["spec"]["integrationRef"]["name"]
        subject = Integration.model_validate(seen[parent]) if parent in seen else None
        runs = [run_of(SyncJob.model_validate(one)) for one in _of(seen, parent)]
        open_runs = unfinished(runs)
        mine = next((run for run in open_runs if run.name == name), None)
        newer = max(open_runs, key=lambda run: (run.created, run.name), default=None)
        replaced = (
            subject is not None
            and subject.spec.concurrency_policy == "Replace"
            and newer is not None
            and mine is not None
            and (newer.created, newer.name) > (mine.created, mine.name)
        )
        jobs = {names.attempt_of(job, name): facts for job, facts in self.server.jobs.items()}
        pods = {names.attempt_of(job, name): facts for job, facts in self.server.pods.items()}
        return SyncSnapshot(
            sync=SyncJob.model_validate(raw),
            integration=subject,
            checked=self._checked(subject) if subject else None,
            around=self._around(),
            jobs={attempt: facts for attempt, facts in jobs.items() if attempt is not None},
            pods={attempt: facts for attempt, facts in pods.items() if attempt is not None},
            ahead="" if replaced or not open_runs or open_runs[0].name == name else open_runs[0].name,
            replaced_by=newer.name if replaced and newer is not None else "",
            slot=self.slots.holds(name),
            keep_failed_job=history.newest_failed(runs) == name,
        )

    def _around(self) -> Any:
        return around(secrets={"acme-api": secret(version=f"s-1/{self.secret}")})

    def _checked(self, subject: Integration) -> View | Problem:
        return validate(subject, "secops", str(subject.metadata["uid"]), self._around(), SETTINGS)

    def _perform(self, raw: dict[str, Any], actions: list[act.Action]) -> None:
        """As controller.context.perform: in order, and what is irreversible only on what is current."""
        for action in actions:
            if not isinstance(
                action, act.CreateSync | act.DeleteSync | act.CreateJob | act.DeleteJob | act.PatchStatus
            ):
                continue
            if self.dies_in is not None:
                if self.dies_in == 0:
                    raise DiedError
                self.dies_in -= 1
            raw = self._do(raw, action)

    def _do(self, raw: dict[str, Any], action: act.Action) -> dict[str, Any]:
        match action:
            case act.PatchStatus(status):
                if raw.get("status") == status:
                    return raw
                found = deepcopy(self.server.current(raw))
                self._never_back(found, status)
                if "nextScheduleTime" not in status:  # suspended, or a person has to correct something first
                    self.epochs.pop(found["metadata"]["name"], None)
                found["status"] = deepcopy(status)
                self.server.put(found)
                return found
            case act.CreateSync(body):
                self.server.current(raw)
                self._create_sync(raw, body)
            case act.DeleteSync(name, uid):
                found = self.server.objects.get(name, {})
                if found.get("metadata", {}).get("uid") == uid:
                    self.server.remove(name)
                    self.server.version += 1
            case act.CreateJob(body):
                self._create_job(self.server.current(raw), body["metadata"]["name"])
            case act.DeleteJob(name, uid):
                if name in self.server.jobs and self.server.jobs[name].uid == uid:
                    self.server.remove_job(name)
                    self.server.version += 1
        return raw

    def _create_sync(self, raw: dict[str, Any], body: dict[str, Any]) -> None:
        name, owner = body["metadata"]["name"], raw["metadata"]["uid"]
        if name in self.server.objects:
            return  # adopted
        made = deepcopy(body)
        self.uids += 1
        made["metadata"] |= {"uid": f"uid-{self.uids}", "generation": 1, "creationTimestamp": text(self.now)}
        self.server.put(made)
        self.made[owner, name] += 1
        if made["spec"]["trigger"] in ("Schedule", "Manual"):  # a cure that was deleted untried is tried again
            assert self.made[owner, name] == 1, f"{name} was made twice for one Integration"
        if made["spec"].get("scheduledTime"):
            self.ticks[owner] += 1

    def _create_job(self, sync: dict[str, Any], name: str) -> None:
        if name in self.server.jobs:
            assert self.server.owners[name] == sync["metadata"]["uid"], f"{name} belongs to another"
            return
        for other in self.server.jobs:
            if self.server.owners[other] == sync["metadata"]["uid"]:
                facts = self.server.jobs[other]
                over = other in self.server.pods or "FailureTarget" in facts.conditions
                assert over, f"{name} begins while {other} runs"
        self.server.pods.pop(name, None)
        self.uids += 1
        self.server.jobs[name] = JobFacts(name, f"job-{self.uids}", self.now, {})
        self.server.owners[name] = sync["metadata"]["uid"]
        self.server.version += 1

    # -- what always holds

    def _never_back(self, found: dict[str, Any], status: dict[str, Any]) -> None:
        before, name = found.get("status") or {}, found["metadata"]["name"]
        for key in ("completionTime", "startTime"):
            if key in before:
                assert status.get(key) == before[key], f"{name}: {key} was changed"
        for key in ("attempts", "failures", "missedSchedules", "lastScheduleTime"):
            if key in before:
                assert status.get(key) is not None, f"{name}: {key} was forgotten"
                assert status[key] >= before[key], f"{name}: {key} went back"
        if "completionTime" in before:
            assert status["conditions"] == before["conditions"], f"{name}: its end was rewritten"

    @invariant()
    def no_job_without_its_syncjob(self) -> None:
        uids = {one["metadata"]["uid"] for one in self.server.syncs()}
        assert set(self.server.owners.values()) <= uids

    @invariant()
    def one_sync_of_an_integration_runs_at_a_time(self) -> None:
        for name in INTEGRATIONS:
            at_work = {
                self.server.owners[job]
                for job in self.server.jobs
                if job not in self.server.pods
                and "FailureTarget" not in self.server.jobs[job].conditions
                and self._sync_of(job)[0]["spec"]["integrationRef"]["name"] == name
                and not (self._sync_of(job)[0].get("status") or {}).get("completionTime")
            }
            assert len(at_work) <= 1, f"{name}: {len(at_work)} at once"

    @invariant()
    def the_limit_holds(self) -> None:
        assert self.slots.active <= self.slots.limits.total + len(INTEGRATIONS)  # what ran before a restart stays

    def _account(self) -> None:
        """At rest: runs and missed ticks together are the ticks that have passed, and every request was heard."""
        for name in INTEGRATIONS:
            subject = self.server.objects[name]
            status, spec, uid = subject["status"], subject["spec"], subject["metadata"]["uid"]
            token = (subject["metadata"].get("annotations") or {}).get("towline.dev/requested-at")
            if token and not spec.get("suspend") and spec["config"]["region"] == "eu":
                assert status["lastHandledRequestedAt"] == token, f"{name}: a request was not heard"
            planned = moment(status.get("nextScheduleTime"))
            if planned is None:
                self.epochs.pop(name, None)
                continue
            missed, period = int(status.get("missedSchedules") or 0), CRONS[spec["schedule"]["cron"]]
            if (epoch := self.epochs.get(name)) is not None:
                due = (planned - epoch.next).total_seconds() / epoch.period
                told = (self.ticks[uid] - epoch.made) + (missed - epoch.missed)
                assert due == told, f"{name}: {due:g} ticks have passed, {told} are accounted for"
            self.epochs[name] = Epoch(planned, missed, period, self.ticks[uid])


def _owner(obj: dict[str, Any]) -> str:
    return next((str(ref["uid"]) for ref in obj["metadata"].get("ownerReferences") or []), "")


def _of(seen: dict[str, dict[str, Any]], integration_name: str) -> list[dict[str, Any]]:
    syncs = [one for one in seen.values() if one["kind"] == "SyncJob"]
    return [one for one in syncs if one["spec"]["integrationRef"]["name"] == integration_name]


def _running(raw: dict[str, Any]) -> bool:
    status = raw.get("status") or {}
    return bool(status.get("attempts")) and not status.get("completionTime") and not status.get("nextAttemptTime")


def test_nothing_is_lost_or_done_twice_whatever_happens() -> None:
    run_state_machine_as_test(
        Operator,
        settings=settings(
            max_examples=EXAMPLES,
            phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if EXAMPLES < 100 else [])],
            stateful_step_count=60,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
