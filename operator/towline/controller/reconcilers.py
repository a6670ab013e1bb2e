"""From a key to its snapshot, its decision and its actions, for each of the three kinds."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from pydantic import ValidationError

from towline.api.conditions import ConditionType, Reason
from towline.api.explain import explain
from towline.api.integration import Integration
from towline.api.syncjob import SyncJob
from towline.controller.cache import Cache
from towline.controller.context import Context
from towline.controller.perform import JobRefusedError, perform, poisoned, refusal
from towline.controller.queue import Key, Rest
from towline.controller.snapshots import is_running, runs_of, snapshot_of
from towline.controller.surroundings import check_integration, depends_on_others
from towline.core import checks, names, syncstatus, times
from towline.core.actions import Action, CreateJob, CreateSync, Decision, Emit, PatchStatus, Slot, earliest
from towline.core.attention import asks_now, recheck_seconds
from towline.core.checks import Ledger
from towline.core.connectors import problems, reconcile_connector
from towline.core.integrations import reconcile_integration
from towline.core.planner import IntegrationSnapshot
from towline.core.runs import Run
from towline.core.slots import Request
from towline.core.syncjobs import reconcile_sync
from towline.core.validate import Problem, View
from towline.kube.errors import ConflictError, NotFoundError, RefusedError

START = "start"
"""The lane of what may start a run."""
_INVALID = 422
_ORDER = {"Manual": 0, "Webhook": 0, "CredentialsRotated": 1, "SpecChange": 1, "Schedule": 2}


async def reconcile(context: Context, key: Key) -> datetime | Rest | None:
    """Bring one object a step further; returns when to look at it again, or what is left to do."""
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


async def _integration(context: Context, key: Key, raw: dict[str, Any]) -> datetime | Rest | None:
    now = context.clock()
    try:
        integration = Integration.model_validate(raw)
    except ValidationError as error:
        await _misfit(context, key, raw, explain(error), ConditionType.READY)
        return None
    settings = context.settings
    pause = recheck_seconds(raw, now, settings.secret_recheck_seconds, settings.secret_check_seconds)
    max_age = 0.0 if asks_now(raw) else pause * 0.9
    checked, around = await check_integration(context, raw, integration, max_age)
    runs = runs_of(context, key.namespace, key.name)
    ledger = _checks(context, key, integration, runs)
    if checked is not None:
        context.prober.consider(key, raw, integration, checked if isinstance(checked, View) else None)
        if settings.watch_secrets:
            context.secret_users.note(key, around.secrets)
    track = context.prober.track(key)
    rotated = _rotated(context, key, checked)
    snapshot = IntegrationSnapshot(integration, checked, around, runs, track, rotated, ledger)
    decision = reconcile_integration(snapshot, now)
    starting, others = _starting(decision)
    if starting:
        raw = await perform(context, key.kind, raw, starting)
    named = checked is not None and depends_on_others(integration, around, settings.runs)
    return Rest(partial(_judged, context, key, raw, replace(decision, actions=others), now if named else None))


async def _judged(
    context: Context, key: Key, raw: dict[str, Any], decision: Decision, named: datetime | None
) -> datetime | None:
    """Everything of an Integration that is not the start of a run. `named`: when others that it names were looked at;
    None if it names none."""
    try:
        after = await perform(context, key.kind, raw, decision.actions)
    except NotFoundError:
        return None
    except ConflictError:
        context.audit.doubt(key)
        raise
    if named is None:
        return decision.look_again
    settings = context.settings
    pause = recheck_seconds(after, named, settings.secret_recheck_seconds, settings.secret_check_seconds)
    jitter = random.uniform(0.9, 1.1)  # noqa: S311
    return earliest(decision.look_again, named + timedelta(seconds=pause * jitter))


def _checks(context: Context, key: Key, integration: Integration, runs: tuple[Run, ...]) -> Ledger:
    """The Integration's checks that no run has recorded. What one has recorded is forgotten here; the status forgets it
    next, and whatever happens in between, the run says it again."""
    uid, told = str(integration.metadata["uid"]), integration.status.checks if integration.status else None
    known = context.audit.ledger(key, uid, told)
    return context.audit.keep(key, uid, checks.recorded(known, checks.recorded_until(runs)))


async def _misfit(
    context: Context, key: Key, raw: dict[str, Any], sentences: list[str], summary: ConditionType
) -> None:
    """Tell of an object that does not fit the models, in its status or, where nobody may write that, by an event."""
    status = poisoned(raw, sentences, summary, context.clock())
    try:
        await perform(context, key.kind, raw, [PatchStatus(status)])
    except RefusedError as error:
        if error.status != _INVALID:
            raise
        # A plain value where a rule of the definition wants an object: the API server takes the cure and nothing else.
        text = f"{'; '.join(sentences[:5])}. Its status cannot be written before this is corrected"
        context.events.emit(raw, Emit("Warning", Reason.INVALID_SPEC, text))


def _rotated(context: Context, key: Key, checked: View | Problem | None) -> bool:
    """Whether the credentials are others than a moment ago. After a restart they count as known."""
    if not isinstance(checked, View) or not checked.credentials_version:
        return False
    before = context.credentials.get(key, checked.credentials_version)
    context.credentials[key] = checked.credentials_version
    return before != checked.credentials_version


async def _syncjob(context: Context, key: Key, raw: dict[str, Any]) -> datetime | Rest | None:
    try:
        return await _advance(context, key, raw)
    except Exception:
        _after_failure(context, key, raw)
        raise


def _after_failure(context: Context, key: Key, raw: dict[str, Any]) -> None:
    """A SyncJob that cannot be handled must not stand at the head of the queue for slots."""
    if not is_running(raw):
        _give_back(context, key)


def lane_of(cache: Cache, now: datetime, key: Key) -> str:
    """What may start a run waits by itself: a SyncJob that does not run yet, an Integration that is due or was asked
    for a sync. No status that is to be written stands before them."""
    raw = cache.get(*key)
    if raw is None:
        return key.kind
    status = raw.get("status") or {}
    if key.kind == "SyncJob":
        return START if not status.get("completionTime") and not is_running(raw) else key.kind
    if key.kind == "Integration":
        due = times.moment(status.get("nextScheduleTime"))
        return START if asks_now(raw) or (due is not None and due <= now) else key.kind
    return key.kind


async def _advance(context: Context, key: Key, raw: dict[str, Any]) -> datetime | Rest | None:
    now = context.clock()
    try:
        sync = SyncJob.model_validate(raw)
    except ValidationError as error:
        await _misfit(context, key, raw, explain(error), ConditionType.SUCCEEDED)
        return None
    if is_running(raw):
        hold_slot(context, key, raw)
    snapshot = await snapshot_of(context, key, raw, sync)
    decision = reconcile_sync(snapshot, now, context.settings.runs)
    if decision.slot is Slot.WANT and context.slots.ask(_request(context, key, sync)):
        decision = reconcile_sync(replace(snapshot, slot=True), context.clock(), context.settings.runs)
    if any(isinstance(one, PatchStatus) and one.status.get("queuePosition") for one in decision.actions):
        context.queue_told[key] = now
    starting, others = _starting(decision)
    try:
        obj = await perform(context, key.kind, raw, starting)
    except JobRefusedError as error:
        text = refusal(error.cause, key.namespace)
        status = syncstatus.waiting(sync, Reason.PENDING, text, now)
        await perform(context, key.kind, raw, [PatchStatus(status), Emit("Warning", "JobRefused", text)])
        _give_back(context, key)
        raise error.cause from None
    if starting:
        context.audit.handed_over(Key("Integration", key.namespace, sync.spec.integration_ref.name))
        _wake_next(context)
        # The pod is on its way. What is told of it waits for its turn, and no other start waits for that.
        return Rest(partial(_tell, context, key, obj, others, decision.look_again))
    if others:
        return Rest(partial(_settle, context, key, raw, decision))
    _pass_on_slot(context, key, decision.slot)
    return decision.look_again


def _starting(decision: Decision) -> tuple[list[Action], list[Action]]:
    """The actions up to the last that starts a run, and those after it; none before where none does."""
    numbers = [number for number, one in enumerate(decision.actions, 1) if isinstance(one, CreateJob | CreateSync)]
    at = max(numbers, default=0)
    return decision.actions[:at], decision.actions[at:]


async def _tell(
    context: Context, key: Key, raw: dict[str, Any], actions: list[Action], again: datetime | None
) -> datetime | None:
    """Status and events of a run whose Job was just made. After a failure the Job is found and taken on."""
    try:
        await perform(context, key.kind, raw, actions)
    except NotFoundError:
        return None  # deleted meanwhile
    return again


async def _settle(context: Context, key: Key, raw: dict[str, Any], decision: Decision) -> datetime | None:
    """Everything that is not the start of a run."""
    try:
        await perform(context, key.kind, raw, decision.actions)
    except NotFoundError:
        return None
    except Exception:
        _after_failure(context, key, raw)
        raise
    _pass_on_slot(context, key, decision.slot)
    return decision.look_again


def _pass_on_slot(context: Context, key: Key, slot: Slot) -> None:
    if slot is Slot.HOLD:
        _wake_next(context)
    elif slot is Slot.RELEASE:
        _give_back(context, key)


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
