"""Gathers what a decision about a SyncJob depends on: its Integration, its Jobs and pods, who goes before it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from towline.api.conditions import Reason
from towline.api.explain import explain
from towline.api.integration import Integration
from towline.api.syncjob import Progress, SyncJob
from towline.contract import Activity, Origin
from towline.controller.cache import slim
from towline.controller.context import Context
from towline.controller.queue import Key
from towline.controller.surroundings import check_integration
from towline.core import activity, checks, ends, history, names
from towline.core.facts import Surroundings
from towline.core.pods import JOB_LABEL, JobFacts, PodFacts, before_suspension, job_facts, newest, pod_facts
from towline.core.runs import Run, run_of, unfinished
from towline.core.slots import Place
from towline.core.syncjobs import QUEUE_NEWS, SyncSnapshot
from towline.core.validate import Problem, View
from towline.kube.errors import NotFoundError
from towline.kube.resources import JOBS, PODS

_START_SECONDS = 5.0  # how old a Secret's facts may be when a run starts


async def snapshot_of(context: Context, key: Key, raw: dict[str, Any], sync: SyncJob) -> SyncSnapshot:
    """Everything that a decision about this SyncJob depends on."""
    parent = context.cache.get("Integration", key.namespace, sync.spec.integration_ref.name)
    integration: Integration | None = None
    checked: View | Problem | None = None
    around = Surroundings()
    finished = bool(sync.status and sync.status.completion_time)
    if parent is not None and not parent["metadata"].get("deletionTimestamp"):
        try:
            integration = Integration.model_validate(parent)
        except ValidationError as error:
            checked = Problem(Reason.INVALID_SPEC, "; ".join(explain(error)[:3]))
    starting = not is_running(raw)
    if integration is not None and not finished:
        age = _START_SECONDS if starting else context.settings.secret_check_seconds
        checked, around = await check_integration(context, parent or {}, integration, age)
    runs = runs_of(context, key.namespace, sync.spec.integration_ref.name)
    # A run whose Job was made a moment ago may not have told so yet: it counts as started all the same.
    open_runs = unfinished(replace(run, started=True) if _has_slot(context, key, run) else run for run in runs)
    jobs = _jobs(context, key)
    pods = _pods(context, key, jobs)
    if is_running(raw) and sync.status:
        attempt = sync.status.attempts or 1
        gone = attempt in pods and pods[attempt].gone and pods[attempt].exit_code is None
        # Before a Job is taken for lost, or a pod's end for a disruption: the two are watched apart, and a Job that
        # was suspended or deleted may be news that has not come yet.
        if attempt not in jobs or gone:
            await _look_for_job(context, key, attempt, jobs)
            pods = _pods(context, key, jobs)
        # And before a result is taken for lost: the watch of pods may be the one that is behind.
        if attempt in jobs and jobs[attempt].over(context.clock()) and not _has_told(pods.get(attempt)):
            await _look_for_pods(context, key, jobs[attempt].name)
            pods = _pods(context, key, jobs)
    ahead = open_runs[0].name if open_runs and open_runs[0].name != key.name else ""
    newest_wins = integration is not None and integration.spec.concurrency_policy == "Replace"
    newer = max(open_runs, key=lambda run: (run.created, run.name), default=None) if newest_wins else None
    replaced_by = (
        newer.name if newer is not None and newer.name != key.name and _is_newer(newer, open_runs, key) else ""
    )
    return SyncSnapshot(
        sync=sync,
        integration=integration,
        checked=checked,
        around=around,
        jobs=jobs,
        pods=pods,
        ahead="" if replaced_by else ahead,
        replaced_by=replaced_by,
        slot=context.slots.holds(key),
        place=_place(context, key),
        keep_failed_job=history.newest_failed(runs) == key.name,
        origin=_origin(context, sync, integration, around) if integration and not finished and starting else None,
        progress=_progress(context, key, sync),
    )


def _has_slot(context: Context, key: Key, run: Run) -> bool:
    return not run.started and context.slots.holds(Key(key.kind, key.namespace, run.name))


def _progress(context: Context, key: Key, sync: SyncJob) -> Progress | None:
    """What the pod told, once: the status keeps it from then on."""
    attempt, told = context.progress.pop(key, (0, None))
    return told if sync.status and attempt == sync.status.attempts else None


def _origin(context: Context, sync: SyncJob, integration: Integration, around: Surroundings) -> Origin:
    """Why the run is started, and what happened since the last one that it is to record."""
    meta, now = integration.metadata, context.clock()
    key = Key("Integration", str(meta["namespace"]), str(meta["name"]))
    uid = str(meta["uid"])
    told = integration.status.checks if integration.status else None
    ledger = context.audit.keep(key, uid, checks.offer(context.audit.ledger(key, uid, told)))
    seen = [activity.change("Integration", meta, integration.spec.wire(), now)]
    seen += checks.records(ledger, key.name, uid)
    if around.connector is not None and around.connector.metadata.get("uid"):
        seen.append(activity.change("Connector", around.connector.metadata, None, now, uid))
    ref = integration.spec.credentials.secret_ref if integration.spec.credentials else None
    facts = around.secrets.get(ref.name) if ref else None
    if ref and facts and facts.version:
        seen.append(activity.rotation(ref.name, facts, uid, now))
    if attempt := activity.attempted(sync):
        seen.append(attempt)
    actor = activity.actor_of(sync, meta, around, facts)
    waiting, recorded = _ends(context, key, integration)
    return activity.origin(sync, actor, [*seen, *recorded], waiting, context.settings.runs.activity_days, now)


def _ends(context: Context, key: Key, integration: Integration) -> tuple[list[Activity], list[Activity]]:
    """Ends of the Integration's syncs: those that may not stand in the record of activity, and those that do."""
    told = integration.status.sync_ends if integration.status else None
    until = ends.recorded_until(told, runs_of(context, key.namespace, key.name))
    waiting, recorded = ends.records(told, key.name), list[Activity]()
    for raw in context.cache.group("SyncJob", key.namespace, key.name):
        try:
            sync = SyncJob.model_validate(raw)
        except ValidationError:
            continue
        run, ended = run_of(sync), activity.ended(sync)
        if ended is not None and run.uid != ends.covered(told):
            (recorded if ends.recorded(run, until) else waiting).append(ended)
    return waiting, recorded


def _is_newer(other: Run, open_runs: list[Run], key: Key) -> bool:
    mine = next((run for run in open_runs if run.name == key.name), None)
    return mine is not None and (other.created, other.name) > (mine.created, mine.name)


async def _look_for_job(context: Context, key: Key, attempt: int, jobs: dict[int, JobFacts]) -> None:
    """Ask for a Job as it is now."""
    try:
        found = slim("Job", await context.client.get(JOBS, key.namespace, names.job(key.name, attempt)))
    except NotFoundError:
        jobs.pop(attempt, None)
        return
    context.cache.put("Job", found)
    jobs[attempt] = job_facts(found)


def _has_told(pod: PodFacts | None) -> bool:
    return pod is not None and pod.exit_code is not None


async def _look_for_pods(context: Context, key: Key, job: str) -> None:
    """Ask for the pods of a Job as they are now."""
    found, _ = await context.client.list(PODS, key.namespace, f"{JOB_LABEL}={job}")
    for pod in found:
        context.cache.put("Pod", slim("Pod", pod))


def _jobs(context: Context, key: Key) -> dict[int, JobFacts]:
    found = {}
    for job in context.cache.group("Job", key.namespace, key.name):
        attempt = names.attempt_of(job["metadata"]["name"], key.name)
        if attempt is not None:
            found[attempt] = job_facts(job)
    return found


def _pods(context: Context, key: Key, jobs: dict[int, JobFacts]) -> dict[int, PodFacts]:
    by_attempt: dict[int, list[PodFacts]] = {}
    present = [(pod, False) for pod in context.cache.group("Pod", key.namespace, key.name)]
    departed = [(pod, True) for pod in context.cache.departed(key.namespace, key.name)]
    for pod, gone in present + departed:
        job = (pod["metadata"].get("labels") or {}).get(JOB_LABEL, "")
        attempt = names.attempt_of(job, key.name)
        facts = pod_facts(pod, gone)
        if attempt is not None and not before_suspension(facts, jobs.get(attempt)):
            by_attempt.setdefault(attempt, []).append(facts)
    chosen = {attempt: newest(pods) for attempt, pods in by_attempt.items()}
    return {attempt: pod for attempt, pod in chosen.items() if pod is not None}


def runs_of(context: Context, namespace: str, integration: str) -> tuple[Run, ...]:
    """The SyncJobs of an Integration in short."""
    runs = []
    for raw in context.cache.group("SyncJob", namespace, integration):
        if raw["metadata"].get("deletionTimestamp"):
            continue
        try:
            runs.append(run_of(SyncJob.model_validate(raw)))
        except ValidationError:
            continue  # it has its own status, and must not stop its siblings
    return tuple(runs)


def is_running(raw: dict[str, Any]) -> bool:
    """Whether an attempt of a SyncJob is under way."""
    status = raw.get("status") or {}
    return bool(status.get("attempts")) and not status.get("completionTime") and not status.get("nextAttemptTime")


def _place(context: Context, key: Key) -> Place | None:
    """Where a SyncJob stands in the queue, unless its status was told a moment ago: its own write wakes it up."""
    now, told = context.clock(), context.queue_told.get(key)
    if told is not None and now - told < QUEUE_NEWS - timedelta(seconds=1):
        return None
    return context.slots.place(key)
