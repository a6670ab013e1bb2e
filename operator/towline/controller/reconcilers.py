"""From a key to its snapshot, its decision and its actions, for each of the three kinds."""

from __future__ import annotations

import asyncio
import random
import time
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from towline.api.conditions import ConditionType, Reason
from towline.api.explain import explain
from towline.api.integration import Integration
from towline.api.syncjob import Progress, SyncJob
from towline.contract import Origin
from towline.controller.cache import slim
from towline.controller.context import Context, JobRefusedError, perform, poisoned, refusal
from towline.controller.queue import Key
from towline.controller.surroundings import check_integration, depends_on_others
from towline.core import activity, history, names, syncstatus
from towline.core.actions import CreateJob, Emit, PatchStatus, Slot, earliest
from towline.core.attention import asks_now, recheck_seconds
from towline.core.connectors import problems, reconcile_connector
from towline.core.facts import Surroundings
from towline.core.integrations import reconcile_integration
from towline.core.planner import IntegrationSnapshot
from towline.core.pods import JobFacts, PodFacts, before_suspension, job_facts, newest, pod_facts
from towline.core.runs import Run, run_of, unfinished
from towline.core.slots import Place, Request
from towline.core.syncjobs import QUEUE_NEWS, SyncSnapshot, reconcile_sync
from towline.core.validate import Problem, View
from towline.kube.errors import NotFoundError
from towline.kube.resources import JOBS

_START_SECONDS = 5.0  # how old a Secret's facts may be when a run starts
_ORDER = {"Manual": 0, "Webhook": 0, "CredentialsRotated": 1, "SpecChange": 1, "Schedule": 2}


async def reconcile(context: Context, key: Key) -> datetime | None:
    """Bring one object a step further; returns when to look at it again."""
    started = time.perf_counter()
    try:
        raw = context.cache.get(*key)
        if raw is None:
            _forget(context, key)
            return None
        return await _BY_KIND[key.kind](context, key, raw)
    except NotFoundError:
        return None  # deleted while we worked on it
    finally:
        context.metrics.reconcile.labels(key.kind).observe(time.perf_counter() - started)


async def _connector(context: Context, key: Key, raw: dict[str, Any]) -> datetime | None:
    uid, generation = raw["metadata"]["uid"], int(raw["metadata"].get("generation") or 1)
    checked, wrong = context.verdicts.get(uid, (0, []))
    if checked != generation:
        # Compiling parses hundreds of expressions: off the loop, so that nobody waits for it.
        wrong = await asyncio.to_thread(problems, raw, context.check)
        context.verdicts[uid] = (generation, wrong)
    # Whoever sees some namespaces only cannot count; two of them would correct each other for ever.
    users = None if context.settings.namespaces else len(context.cache.group("Integration", "", key.name))
    decision = reconcile_connector(raw, wrong, users, context.clock())
    await perform(context, key.kind, raw, decision.actions)
    return decision.look_again


async def _integration(context: Context, key: Key, raw: dict[str, Any]) -> datetime | None:
    now = context.clock()
    try:
        integration = Integration.model_validate(raw)
    except ValidationError as error:
        status = poisoned(raw, explain(error), ConditionType.READY, now)
        await perform(context, key.kind, raw, [PatchStatus(status)])
        return None
    settings = context.settings
    pause = recheck_seconds(raw, now, settings.secret_recheck_seconds, settings.secret_check_seconds)
    max_age = 0.0 if asks_now(raw) else pause * 0.9
    checked, around = await check_integration(context, raw, integration, max_age)
    runs = _runs(context, key.namespace, key.name)
    if checked is not None:
        context.prober.consider(key, raw, integration, checked if isinstance(checked, View) else None)
        if settings.watch_secrets:
            context.secret_users.note(key, around.secrets)
    track = context.prober.track(key)
    rotated = _rotated(context, key, checked)
    decision = reconcile_integration(IntegrationSnapshot(integration, checked, around, runs, track, rotated), now)
    after = await perform(context, key.kind, raw, decision.actions)
    again = decision.look_again
    if checked is not None and depends_on_others(integration, around, settings.runs):
        pause = recheck_seconds(after, now, settings.secret_recheck_seconds, settings.secret_check_seconds)
        again = earliest(again, now + timedelta(seconds=pause * random.uniform(0.9, 1.1)))  # noqa: S311  jitter
    return again


def _rotated(context: Context, key: Key, checked: View | Problem | None) -> bool:
    """Whether the credentials are others than a moment ago. After a restart they count as known."""
    if not isinstance(checked, View) or not checked.credentials_version:
        return False
    before = context.credentials.get(key, checked.credentials_version)
    context.credentials[key] = checked.credentials_version
    return before != checked.credentials_version


async def _syncjob(context: Context, key: Key, raw: dict[str, Any]) -> datetime | None:
    try:
        return await _advance(context, key, raw)
    except Exception:
        # A SyncJob that cannot be handled must not stand at the head of the queue for slots.
        if not _running(raw):
            _give_back(context, key)
        raise


async def _advance(context: Context, key: Key, raw: dict[str, Any]) -> datetime | None:
    now = context.clock()
    try:
        sync = SyncJob.model_validate(raw)
    except ValidationError as error:
        status = poisoned(raw, explain(error), ConditionType.SUCCEEDED, now)
        await perform(context, key.kind, raw, [PatchStatus(status)])
        return None
    if _running(raw):
        hold_slot(context, key, raw)
    snapshot = await _snapshot(context, key, raw, sync)
    decision = reconcile_sync(snapshot, now, context.settings.runs)
    if decision.slot is Slot.WANT and context.slots.ask(_request(context, key, sync)):
        snapshot = await _snapshot(context, key, raw, sync)
        decision = reconcile_sync(snapshot, context.clock(), context.settings.runs)
    try:
        await perform(context, key.kind, raw, decision.actions)
    except JobRefusedError as error:
        text = refusal(error.cause, key.namespace)
        status = syncstatus.waiting(sync, Reason.PENDING, text, now)
        await perform(context, key.kind, raw, [PatchStatus(status), Emit("Warning", "JobRefused", text)])
        _give_back(context, key)
        raise error.cause from None
    if any(isinstance(action, CreateJob) for action in decision.actions):
        context.audit.handed_over(Key("Integration", key.namespace, sync.spec.integration_ref.name))
    if decision.slot is Slot.HOLD:
        _wake_next(context)
    elif decision.slot is Slot.RELEASE:
        _give_back(context, key)
    return decision.look_again


async def _snapshot(context: Context, key: Key, raw: dict[str, Any], sync: SyncJob) -> SyncSnapshot:
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
    starting = not _running(raw)
    if integration is not None and not finished:
        age = _START_SECONDS if starting else context.settings.secret_check_seconds
        checked, around = await check_integration(context, parent or {}, integration, age)
    runs = _runs(context, key.namespace, sync.spec.integration_ref.name)
    open_runs = unfinished(runs)
    jobs = _jobs(context, key)
    pods = _pods(context, key, jobs)
    if _running(raw) and sync.status:
        attempt = sync.status.attempts or 1
        gone = attempt in pods and pods[attempt].gone and pods[attempt].exit_code is None
        # Before a Job is taken for lost, or a pod's end for a disruption: the two are watched apart, and a Job that
        # was suspended or deleted may be news that has not come yet.
        if attempt not in jobs or gone:
            await _look_for_job(context, key, attempt, jobs)
            pods = _pods(context, key, jobs)
    ahead = open_runs[0].name if open_runs and open_runs[0].name != key.name else ""
    replace = integration is not None and integration.spec.concurrency_policy == "Replace"
    newer = max(open_runs, key=lambda run: (run.created, run.name), default=None) if replace else None
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


def _progress(context: Context, key: Key, sync: SyncJob) -> Progress | None:
    """What the pod told, once: the status keeps it from then on."""
    attempt, told = context.progress.pop(key, (0, None))
    return told if sync.status and attempt == sync.status.attempts else None


def _origin(context: Context, sync: SyncJob, integration: Integration, around: Surroundings) -> Origin:
    """Why the run is started, and what happened since the last one that it is to record."""
    meta, now = integration.metadata, context.clock()
    key = Key("Integration", str(meta["namespace"]), str(meta["name"]))
    uid = str(meta["uid"])
    seen = [activity.change("Integration", meta, integration.spec.wire(), now), *context.audit.checks(key, uid)]
    if around.connector is not None and around.connector.metadata.get("uid"):
        seen.append(activity.change("Connector", around.connector.metadata, None, now, uid))
    ref = integration.spec.credentials.secret_ref if integration.spec.credentials else None
    facts = around.secrets.get(ref.name) if ref else None
    if ref and facts and facts.version:
        seen.append(activity.rotation(ref.name, facts, uid, now))
    for raw in context.cache.group("SyncJob", key.namespace, key.name):
        try:
            ended = activity.ended(SyncJob.model_validate(raw))
        except ValidationError:
            continue
        seen += [ended] if ended else []
    actor = activity.actor_of(sync, meta, around, facts)
    return activity.origin(sync, actor, seen, context.settings.runs.activity_days)


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
        job = (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name", "")
        attempt = names.attempt_of(job, key.name)
        facts = pod_facts(pod, gone)
        if attempt is not None and not before_suspension(facts, jobs.get(attempt)):
            by_attempt.setdefault(attempt, []).append(facts)
    chosen = {attempt: newest(pods) for attempt, pods in by_attempt.items()}
    return {attempt: pod for attempt, pod in chosen.items() if pod is not None}


def _runs(context: Context, namespace: str, integration: str) -> tuple[Run, ...]:
    runs = []
    for raw in context.cache.group("SyncJob", namespace, integration):
        if raw["metadata"].get("deletionTimestamp"):
            continue
        try:
            runs.append(run_of(SyncJob.model_validate(raw)))
        except ValidationError:
            continue  # it has its own status, and must not stop its siblings
    return tuple(runs)


def _running(raw: dict[str, Any]) -> bool:
    status = raw.get("status") or {}
    return bool(status.get("attempts")) and not status.get("completionTime") and not status.get("nextAttemptTime")


def _place(context: Context, key: Key) -> Place | None:
    """Where a SyncJob stands in the queue, unless its status was told a moment ago: its own write wakes it up."""
    now, told = context.clock(), context.queue_told.get(key)
    if told is not None and now - told < QUEUE_NEWS - timedelta(seconds=1):
        return None
    found = context.slots.place(key)
    if found is not None and found.position:
        context.queue_told[key] = now
    return found


def hold_slot(context: Context, key: Key, raw: dict[str, Any]) -> None:
    """Count a SyncJob that already runs against the limits; one that a queue of the cluster holds back does not."""
    if not _suspended(context, key, raw):
        integration = str(raw.get("spec", {}).get("integrationRef", {}).get("name", ""))
        context.slots.hold(key, key.namespace, _connector_of(context, key.namespace, integration))


def _suspended(context: Context, key: Key, raw: dict[str, Any]) -> bool:
    attempt = (raw.get("status") or {}).get("attempts") or 0
    job = context.cache.get("Job", key.namespace, names.job(key.name, attempt)) or {}
    return bool((job.get("spec") or {}).get("suspend"))


def _connector_of(context: Context, namespace: str, integration: str) -> str:
    found = context.cache.get("Integration", namespace, integration) or {}
    return str(found.get("spec", {}).get("connectorRef", {}).get("name", ""))


def _request(context: Context, key: Key, sync: SyncJob) -> Request:
    name = sync.spec.integration_ref.name
    return Request(
        key,
        (key.namespace, name),
        _ORDER.get(sync.spec.trigger, 2),
        key.namespace,
        _connector_of(context, key.namespace, name),
    )


def _give_back(context: Context, key: Key) -> None:
    context.slots.release(key)
    context.queue_told.pop(key, None)
    context.progress.pop(key, None)
    _wake_next(context)


def _wake_next(context: Context) -> None:
    following = context.slots.next_in_line()
    if isinstance(following, Key):
        context.enqueue(following)


def _forget(context: Context, key: Key) -> None:
    if key.kind == "SyncJob":
        _give_back(context, key)
    elif key.kind == "Integration":
        context.metrics.forget(key.namespace, key.name)
        context.secret_users.note(key, ())
        context.credentials.pop(key, None)
        context.prober.forget(key)
        context.audit.forget(key)
    elif key.kind == "Connector":
        present = {one["metadata"]["uid"] for one in context.cache.all("Connector")}
        context.verdicts = {uid: verdict for uid, verdict in context.verdicts.items() if uid in present}


_BY_KIND = {"Connector": _connector, "Integration": _integration, "SyncJob": _syncjob}
