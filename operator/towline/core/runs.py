"""What an Integration wants to know of its SyncJobs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from towline.api.conditions import Condition, ConditionType, Reason
from towline.api.syncjob import SyncJob, SyncJobStatus, SyncStreamStatus
from towline.core import conditions, times

_NOT_FAILURES = {Reason.REPLACED, Reason.CANCELLED, Reason.SUPERSEDED}
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Run:
    """One SyncJob in short."""

    name: str
    uid: str
    version: int
    """Its resourceVersion, which grows with each write and stays once the run has finished."""
    created: datetime
    owner_uid: str
    trigger: str
    mode: str
    tick: datetime | None
    completed: datetime | None
    started: bool
    attempts: int
    status: str
    reason: str
    message: str
    progress_reason: str
    """Why the newest attempt ended while the run waits for the next one."""
    integration_generation: int | None
    connector_generation: int | None
    credentials_version: str
    streams: tuple[SyncStreamStatus, ...]
    seconds: int = 0
    """From the first attempt's start to the end, once it has ended."""
    checks_until: datetime | None = None
    """Up to when checks of the credentials are recorded, by it."""
    start: datetime | None = None
    actor: str = ""
    activity: str = "Unknown"
    """What it has written to the record of activity: Nothing, what was Before it (and perhaps its end), or Unknown."""
    ends_until: datetime | None = None
    """Up to when ends of earlier syncs are recorded, by it."""

    @property
    def finished(self) -> bool:
        return self.completed is not None

    @property
    def succeeded(self) -> bool:
        return self.finished and self.status == "True"

    @property
    def failed(self) -> bool:
        return self.finished and self.status == "False" and self.reason not in _NOT_FAILURES

    @property
    def order(self) -> tuple[datetime, int, str]:
        """Finished runs in the order in which they count. Of two in the same second the later written is later."""
        return (self.completed or datetime.max.replace(tzinfo=UTC), self.version, self.name)


def run_of(sync: SyncJob) -> Run:
    """A SyncJob in short."""
    meta, status = sync.metadata, sync.status
    summary: Condition | None = conditions.find(status.conditions if status else None, ConditionType.SUCCEEDED)
    progress = conditions.find(status.conditions if status else None, ConditionType.RECONCILING)
    owner: dict[str, str] = next((ref for ref in meta.get("ownerReferences") or [] if ref.get("controller")), {})
    return Run(
        name=str(meta.get("name", "")),
        uid=str(meta.get("uid", "")),
        version=int(version) if (version := str(meta.get("resourceVersion", ""))).isdigit() else 0,
        created=times.moment(meta.get("creationTimestamp")) or _LONG_AGO,
        owner_uid=str(owner.get("uid", "")),
        trigger=sync.spec.trigger,
        mode=sync.spec.mode,
        tick=times.moment(sync.spec.scheduled_time),
        completed=times.moment(status.completion_time) if status else None,
        started=bool(status and status.start_time),
        attempts=(status.attempts or 0) if status else 0,
        status=summary.status if summary else "Unknown",
        reason=summary.reason if summary else Reason.PENDING,
        message=summary.message if summary else "",
        progress_reason=progress.reason if progress else "",
        integration_generation=status.integration_generation if status else None,
        connector_generation=status.connector_generation if status else None,
        credentials_version=(status.credentials_version or "") if status else "",
        streams=tuple(status.streams or ()) if status else (),
        seconds=_seconds(status),
        checks_until=times.moment(status.checks_recorded_until) if status else None,
        start=times.moment(status.start_time) if status else None,
        actor=(status.actor or "") if status else "",
        activity=_activity(sync, status),
        ends_until=times.moment(status.ends_recorded_until) if status else None,
    )


def _activity(sync: SyncJob, status: SyncJobStatus | None) -> str:
    if status is None or not status.attempts or sync.spec.mode == "Check":  # no pod, or one that stores nothing
        return "Nothing"
    return status.activity_recorded or "Unknown"


def _seconds(status: SyncJobStatus | None) -> int:
    start = times.moment(status.start_time) if status else None
    end = times.moment(status.completion_time) if status else None
    return max(0, round((end - start).total_seconds())) if start and end else 0


def unfinished(runs: Iterable[Run]) -> list[Run]:
    """Runs that have not ended, the one that goes first in front: started ones, then by age."""
    return sorted((run for run in runs if not run.finished), key=lambda run: (not run.started, run.created, run.name))
