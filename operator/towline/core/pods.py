"""What the operator reads from a pod and a Job of Kubernetes; everything else in them is dropped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from towline.contract import CHECKS_UNTIL, ENDS_UNTIL
from towline.core import times
from towline.core.jobspec import CONTAINER

JOB_LABEL = "batch.kubernetes.io/job-name"
ENDS = ("Failed", "FailureTarget", "Complete", "SuccessCriteriaMet")
"""Conditions of a Job that is over, or as good as over."""


@dataclass(frozen=True)
class PodFacts:
    """One pod, as it is or as it was when it went."""

    name: str
    uid: str
    phase: str
    gone: bool = False
    exit_code: int | None = None
    ended_by: str = ""
    """The container's reason: Completed, Error, OOMKilled, StartError, ContainerStatusUnknown."""
    message: str = ""
    waiting: str = ""
    """Why the container does not run yet: ImagePullBackOff, ContainerCreating …"""
    unschedulable: str = ""
    disruption: str = ""
    """The reason of its condition DisruptionTarget."""
    deleting_since: datetime | None = None
    """When somebody asked for its deletion."""
    running: bool = False
    image: str = ""
    memory_limit: str = ""
    """As Kubernetes writes quantities; empty if there is none."""
    created: datetime | None = None


@dataclass(frozen=True)
class JobFacts:
    name: str
    uid: str
    created: datetime | None
    conditions: Mapping[str, tuple[str, str, datetime | None]]
    """Type → (reason, message, since), of those that are True."""
    deadline: datetime | None = None
    """When Kubernetes ends it."""
    started: datetime | None = None
    """Since when it may have pods; set anew when it goes on after a suspension."""
    suspended: bool = False
    """Its spec says so, for example by Kueue; its deadline begins anew when it goes on."""
    checks_until: str = ""
    """Up to when its plan tells of checks of the credentials; empty if of none."""
    ends_until: str = ""
    """Up to when its plan tells of ends of earlier syncs; empty if of none."""

    @property
    def held(self) -> bool:
        """Whether it is suspended, or was a moment ago: the condition falls together with the new start time."""
        return self.suspended or "Suspended" in self.conditions

    @property
    def finished(self) -> bool:
        return "Complete" in self.conditions or "Failed" in self.conditions

    def overdue(self, now: datetime) -> bool:
        """Whether its time is up, whatever its conditions say by now."""
        return self.deadline is not None and now >= self.deadline and not self.held

    def over(self, now: datetime) -> bool:
        """Whether it is decided how it ends; its pod may still be stopping."""
        return self.overdue(now) or any(condition in self.conditions for condition in ENDS)


def pod_facts(pod: Mapping[str, Any], gone: bool = False) -> PodFacts:
    """The facts of a pod object."""
    meta, status = pod.get("metadata", {}), pod.get("status", {})
    wanted, container = _named(pod.get("spec", {}).get("containers")), _named(status.get("containerStatuses"))
    state = container.get("state") or {}
    ended = state.get("terminated") or {}
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    scheduled, disrupted = conditions.get("PodScheduled", {}), conditions.get("DisruptionTarget", {})
    unscheduled = scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable"
    return PodFacts(
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        phase=status.get("phase", "Pending"),
        gone=gone,
        exit_code=ended.get("exitCode"),
        ended_by=ended.get("reason") or status.get("reason") or "",
        message=ended.get("message") or "",
        waiting=(state.get("waiting") or {}).get("reason") or "",
        unschedulable=scheduled.get("message") or "it fits no node" if unscheduled else "",
        disruption=(disrupted.get("reason") or "Disrupted") if disrupted.get("status") == "True" else "",
        deleting_since=_asked_to_go(meta),
        running="running" in state,
        image=wanted.get("image") or "",
        memory_limit=((wanted.get("resources") or {}).get("limits") or {}).get("memory") or "",
        created=times.moment(meta.get("creationTimestamp")),
    )


def _asked_to_go(meta: Mapping[str, Any]) -> datetime | None:
    """deletionTimestamp is when the time to stop is over, not when it began."""
    over = times.moment(meta.get("deletionTimestamp"))
    return over - timedelta(seconds=int(meta.get("deletionGracePeriodSeconds") or 0)) if over else None


def _named(containers: list[dict[str, Any]] | None) -> dict[str, Any]:
    return next((c for c in containers or [] if c.get("name") == CONTAINER), {})


def job_facts(job: Mapping[str, Any]) -> JobFacts:
    """The facts of a Job object. All conditions count, not the first: their order differs between versions."""
    meta, status = job.get("metadata", {}), job.get("status", {})
    spec = job.get("spec", {})
    started, allowed = times.moment(status.get("startTime")), spec.get("activeDeadlineSeconds")
    return JobFacts(
        name=meta.get("name", ""),
        uid=meta.get("uid", ""),
        created=times.moment(meta.get("creationTimestamp")),
        conditions={
            c["type"]: (c.get("reason") or "", c.get("message") or "", times.moment(c.get("lastTransitionTime")))
            for c in status.get("conditions") or []
            if c.get("status") == "True"
        },
        deadline=started + timedelta(seconds=allowed) if started and allowed else None,
        started=started,
        suspended=bool(spec.get("suspend")),
        checks_until=(meta.get("annotations") or {}).get(CHECKS_UNTIL, ""),
        ends_until=(meta.get("annotations") or {}).get(ENDS_UNTIL, ""),
    )


def before_suspension(pod: PodFacts, job: JobFacts | None) -> bool:
    """Whether a pod is of the time before its Job was suspended: its end says nothing of the Job's."""
    if job is None or pod.created is None:
        return False
    # A Job without a start has no pods of its own: it is suspended, or it was a moment ago.
    return pod.gone if job.started is None else pod.created < job.started


def newest(pods: Iterable[PodFacts]) -> PodFacts | None:
    """The pod that counts: one that ended before one that runs, one that is there before one that is gone."""
    ranked = sorted(pods, key=lambda pod: (pod.exit_code is None, pod.gone, pod.name))
    return ranked[0] if ranked else None
