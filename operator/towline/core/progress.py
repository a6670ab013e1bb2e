"""What a pod tells of its run while it runs: believed only of the pod that the attempt belongs to.

Progress is news. A report that is late, lost or refused changes nothing but what a person sees meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from towline.api.syncjob import Progress, StreamProgress
from towline.contract import ProgressReport
from towline.core import names, times
from towline.core.facts import MANAGED_BY, MANAGER, SYNC_LABEL


@dataclass(frozen=True)
class Speaker:
    """The pod that a token belongs to, as the API server says."""

    namespace: str
    pod: str
    pod_uid: str


def speaker(review: Mapping[str, Any], audience: str) -> Speaker | None:
    """Who a TokenReview says is speaking; None for a token that proves no pod or was made for someone else."""
    status = review.get("status") or {}
    if status.get("authenticated") is not True or audience not in (status.get("audiences") or []):
        return None
    user = status.get("user") or {}
    extra = user.get("extra") or {}
    account = str(user.get("username") or "").split(":")
    pod, uid = (_only(extra.get(f"authentication.kubernetes.io/pod-{part}")) for part in ("name", "uid"))
    if account[:2] != ["system", "serviceaccount"] or len(account) != 4 or not pod or not uid:
        return None
    return Speaker(account[2], pod, uid)


def _only(values: Any) -> str:
    return str(values[0]) if isinstance(values, list) and len(values) == 1 else ""


def run_of_pod(pod: Mapping[str, Any] | None, speaks: Speaker) -> tuple[str, int] | None:
    """The SyncJob and the attempt that a pod works for; None if it is none of ours, or another one of that name."""
    meta = (pod or {}).get("metadata") or {}
    labels = meta.get("labels") or {}
    sync = str(labels.get(SYNC_LABEL) or "")
    if meta.get("uid") != speaks.pod_uid or labels.get(MANAGED_BY) != MANAGER or not sync:
        return None
    owner: dict[str, Any] = next((ref for ref in meta.get("ownerReferences") or [] if ref.get("controller")), {})
    attempt = names.attempt_of(str(owner.get("name") or ""), sync) if owner.get("kind") == "Job" else None
    return (sync, attempt) if attempt is not None else None


def refusal(sync: Mapping[str, Any] | None, job: Mapping[str, Any] | None, attempt: int, report: ProgressReport) -> str:
    """Why the report of a pod of this Job is not taken as one of the SyncJob's present attempt; empty if it is."""
    if sync is None or job is None:
        return "no such run"
    owners = {ref.get("uid") for ref in job["metadata"].get("ownerReferences") or []}
    status = sync.get("status") or {}
    if sync["metadata"]["uid"] != report.sync_uid or sync["metadata"]["uid"] not in owners:
        return "of another run"
    if attempt != report.attempt or attempt != status.get("attempts") or status.get("nextAttemptTime"):
        return "of another attempt"
    return "the run has ended" if status.get("completionTime") else ""


def progress(report: ProgressReport, streams: Iterable[str], now: datetime) -> Progress | None:
    """What the status says of a report; None if it speaks of no stream that the Connector has."""
    known = set(streams)
    told = {entry.name: entry for entry in report.streams if entry.name in known}
    present = told.get(report.stream)
    if present is None:
        return None
    return Progress(
        stream=present.name,
        read=present.read,
        expected=present.expected,
        records_per_second=report.rate,
        updated_time=times.text(now),
        streams=[
            StreamProgress(**{key: value for key, value in entry.model_dump().items() if value})
            for entry in told.values()
        ],
    )
