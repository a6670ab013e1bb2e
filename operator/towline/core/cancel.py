"""Cancelling a SyncJob without deleting it: the annotation towline.dev/cancel, since its spec cannot be changed."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import Enum

from towline.api.syncjob import SyncJob, SyncJobStatus
from towline.contract import CANCEL
from towline.core.jobspec import GRACE_SECONDS
from towline.core.pods import JobFacts, PodFacts

WHY = f"cancelled by the annotation {CANCEL}"


class Step(Enum):
    """What cancelling takes next."""

    STOP = "delete the Job: Kubernetes asks its pod to stop"
    WAIT = "the pod commits what it has and says how far it came"
    OVER = "nothing runs any more"


def asked(sync: SyncJob) -> bool:
    """Whether somebody wants it cancelled."""
    value = str((sync.metadata.get("annotations") or {}).get(CANCEL) or "").strip().lower()
    return value not in ("", "false")


def step(status: SyncJobStatus, job: JobFacts | None, pod: PodFacts | None, now: datetime) -> Step:
    """What comes next, from the Job and the pod of the present attempt."""
    if not status.attempts or status.next_attempt_time:
        return Step.OVER
    ended = pod is not None and (pod.exit_code is not None or pod.gone)
    if ended:
        return Step.OVER
    if job is not None and not job.finished:
        return Step.STOP
    if pod is None:
        return Step.OVER
    lost = pod.deleting_since is not None and now >= pod.deleting_since + timedelta(seconds=GRACE_SECONDS + 30)
    return Step.OVER if lost else Step.WAIT
