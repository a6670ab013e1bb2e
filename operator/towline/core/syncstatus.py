"""The status of a SyncJob at each step of its life."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal

from towline.api.conditions import Condition, ConditionType, Reason
from towline.api.syncjob import SyncJob, SyncJobStatus, SyncStreamStatus, Totals
from towline.contract import RunResult, StreamResult
from towline.core import times
from towline.core.conditions import Wanted, sentence, settle
from towline.core.pods import JobFacts

_COUNTS = ("read", "upserted", "deleted", "rejected")


def waiting(sync: SyncJob, reason: Reason, message: str, now: datetime) -> dict[str, Any]:
    """Not started yet, or between two attempts without news."""
    return _written(sync, {}, [Wanted(ConditionType.SUCCEEDED, "Unknown", reason, sentence(message))], now)


def queued(sync: SyncJob, position: int, message: str, now: datetime) -> dict[str, Any]:
    """Waits for a slot at this place."""
    wanted = [Wanted(ConditionType.SUCCEEDED, "Unknown", Reason.QUEUED, sentence(message))]
    return _written(sync, {"queue_position": position}, wanted, now)


def under_way(
    sync: SyncJob, reason: Reason, message: str, now: datetime, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """An attempt is under way. `changes` are fields of the status; None removes one."""
    wanted = [
        Wanted(ConditionType.SUCCEEDED, "Unknown", reason, sentence(message)),
        Wanted(ConditionType.RECONCILING, "True", reason, sentence(message)),
    ]
    return _written(sync, changes or {}, wanted, now)


def retrying(sync: SyncJob, cause: Reason, message: str, now: datetime, changes: dict[str, Any]) -> dict[str, Any]:
    """An attempt has failed and another will follow: the cause is the reason of Reconciling."""
    wanted = [
        Wanted(ConditionType.SUCCEEDED, "Unknown", Reason.RETRYING, message),
        Wanted(ConditionType.RECONCILING, "True", cause, message),
    ]
    return _written(sync, changes, wanted, now)


def finished(
    sync: SyncJob, succeeded: bool, reason: Reason, message: str, now: datetime, changes: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The run is over."""
    status: Literal["True", "False"] = "True" if succeeded else "False"
    wanted = [Wanted(ConditionType.SUCCEEDED, status, reason, sentence(message))]
    if not succeeded:
        wanted.append(Wanted(ConditionType.STALLED, "True", reason, sentence(message)))
    ended = {
        "completion_time": times.text(now),
        "next_attempt_time": None,
        "queue_position": None,
        "progress": None,
    }
    return _written(sync, {**ended, **(changes or {})}, wanted, now)


def result_changes(sync: SyncJob, result: RunResult | None, streams: Iterable[str]) -> dict[str, Any]:
    """Counts of this result on top of those of earlier attempts. Streams that the plan did not name are dropped."""
    if result is None:
        return {}
    known = list(streams)
    before = {entry.name: entry for entry in (sync.status.streams or [] if sync.status else [])}
    for entry in result.streams:
        if entry.name in known:
            before[entry.name] = _added(before.get(entry.name), entry)
    ordered = [before[name] for name in known if name in before]
    if not ordered:
        return {}
    totals = Totals(**{count: sum(getattr(entry, count) or 0 for entry in ordered) for count in _COUNTS})
    return {"streams": ordered[:50], "totals": totals}


def checks_recorded(sync: SyncJob, succeeded: bool, job: JobFacts | None) -> dict[str, Any]:
    """Up to when the destination has the checks that the plan of this attempt told of. They were written at its
    beginning, and a run that cannot write its end does not succeed; one of mode Check stores nothing."""
    if not succeeded or job is None or not job.checks_until or sync.spec.mode == "Check":
        return {}
    return {"checks_recorded_until": job.checks_until}


def activity_recorded(sync: SyncJob, result: RunResult | None, job: JobFacts | None) -> dict[str, Any]:
    """What the record of activity has, now that the present attempt has ended; `result` is None where its pod told
    nothing."""
    before = sync.status or SyncJobStatus()
    earlier, attempt = before.activity_recorded, before.attempts or 0
    if not attempt or sync.spec.mode == "Check":  # nobody has written there
        return {}
    if result is not None and result.streams:
        until = job.ends_until if job else ""
        return {"activity_recorded": "Before", **({"ends_recorded_until": until} if until else {})}
    if earlier == "Before":
        return {}
    silent = result is not None and result.reason is not Reason.CONNECTOR_BUG  # a bug may come after a commit
    known = silent and earlier == ("Nothing" if attempt > 1 else None)
    return {"activity_recorded": "Nothing" if known else "Unknown"}


def activity_unseen(sync: SyncJob) -> dict[str, Any]:
    """The same where an attempt may be under way whose end nobody waits for."""
    return {} if sync.status and sync.status.next_attempt_time else activity_recorded(sync, None, None)


def counted(totals: Totals | None) -> str:
    """`412 new or changed, 3 deleted, 1 rejected of 18,234 read`."""
    if totals is None:
        return "nothing to read"
    parts = [f"{totals.upserted or 0:,} new or changed"]
    if totals.deleted:
        parts.append(f"{totals.deleted:,} deleted")
    if totals.rejected:
        parts.append(f"{totals.rejected:,} rejected")
    return f"{', '.join(parts)} of {totals.read or 0:,} read"


def _added(before: SyncStreamStatus | None, entry: StreamResult) -> SyncStreamStatus:
    counts = {count: getattr(entry, count) + (getattr(before, count) or 0 if before else 0) for count in _COUNTS}
    return SyncStreamStatus(
        name=entry.name,
        checkpoint=entry.checkpoint or (before.checkpoint if before else None),
        full=True if entry.full else None,
        skipped=entry.skipped,
        **counts,
    )


def _written(sync: SyncJob, changes: dict[str, Any], wanted: list[Wanted], now: datetime) -> dict[str, Any]:
    generation = int(sync.metadata.get("generation") or 1)
    before = sync.status or SyncJobStatus()
    fields = {name: getattr(before, name) for name in SyncJobStatus.model_fields if name != "conditions"}
    fields.update(changes)
    fields["observed_generation"] = generation
    status = SyncJobStatus(**{name: value for name, value in fields.items() if value is not None})
    previous: list[Condition] | None = before.conditions
    written = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    written["conditions"] = settle(previous, wanted, generation, now)
    return written
