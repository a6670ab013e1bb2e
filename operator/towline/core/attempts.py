"""What an attempt has come to: still waiting, running, or ended, and what follows from its end."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from towline.api.conditions import Reason
from towline.contract import ExitCode, RunResult
from towline.core.facts import RunSettings
from towline.core.jobspec import GRACE_SECONDS
from towline.core.pods import ENDS, JobFacts, PodFacts
from towline.core.results import Expected, Unreadable, parse_result, printable

BACKOFF_SECONDS = 60
MAX_BACKOFF_SECONDS = 1800
MAX_UNCOUNTED_DISRUPTIONS = 20
_NEWS_SECONDS = 10  # how long the pod's last words may lag behind the Job's condition
_NO_POD_SECONDS = 60
_LOST_NODE = "DeletionByTaintManager"
_LOST_NODE_SECONDS = 15
"""Kubernetes deletes the pods of a node that was silent for 80 s; what still runs there may not write any more."""
_PULL = {"ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError"}
_PULL_NEVER = {"InvalidImageName", "ErrImageNeverPull"}


class Kind(Enum):
    """What follows from the end of an attempt."""

    SUCCESS = "done"
    TRANSIENT = "again after a back-off"
    RATE_LIMITED = "again when the vendor said"
    PERMANENT = "stop until spec, Secret or request change"
    POLICY = "stop until a person asks again"
    FAILED = "stop, the next slot tries again"
    DISRUPTED = "again at once, not counted"
    SUPERSEDED = "stop, a newer run took over"


_KINDS: dict[Reason, Kind] = {
    Reason.COMPLETED: Kind.SUCCESS,
    Reason.PARTIALLY_COMPLETED: Kind.SUCCESS,
    Reason.CREDENTIALS_REJECTED: Kind.PERMANENT,
    Reason.PERMISSION_DENIED: Kind.PERMANENT,
    Reason.CONFIG_INVALID: Kind.PERMANENT,
    Reason.KEY_MISSING: Kind.PERMANENT,
    Reason.HOST_NOT_ALLOWED: Kind.PERMANENT,
    Reason.ADDRESS_NOT_ALLOWED: Kind.PERMANENT,
    Reason.INVALID_MANIFEST: Kind.PERMANENT,
    Reason.SCHEMA_MISMATCH: Kind.FAILED,
    Reason.CONNECTOR_BUG: Kind.FAILED,
    Reason.RATE_LIMITED: Kind.RATE_LIMITED,
    Reason.POLICY_VIOLATION: Kind.POLICY,
    Reason.SUPERSEDED: Kind.SUPERSEDED,
}
PERMANENT_REASONS = frozenset(str(reason) for reason, kind in _KINDS.items() if kind is Kind.PERMANENT)

_BY_EXIT_CODE: dict[int, tuple[Reason, str]] = {
    ExitCode.USAGE: (Reason.INVALID_MANIFEST, "the connector could not use its manifest"),
    ExitCode.SCHEMA: (Reason.SCHEMA_MISMATCH, "the vendor's answers do not have the form that the manifest expects"),
    ExitCode.BUG: (Reason.CONNECTOR_BUG, "the connector failed in a way that it did not foresee"),
    ExitCode.CREDENTIALS: (Reason.CREDENTIALS_REJECTED, "the vendor rejected the credentials"),
    ExitCode.CONFIG: (Reason.CONFIG_INVALID, "the connector could not use its settings"),
    ExitCode.POLICY: (Reason.POLICY_VIOLATION, "a guard of the Integration stopped the run"),
}


@dataclass(frozen=True)
class Waiting:
    """The attempt goes on. `look_again` is when time alone may change that."""

    reason: Reason
    message: str
    look_again: datetime | None = None


@dataclass(frozen=True)
class Outcome:
    """The end of an attempt."""

    kind: Kind
    reason: Reason
    message: str
    exit_code: int | None = None
    result: RunResult | None = None
    retry_after: int | None = None


def observe(
    job: JobFacts | None, pod: PodFacts | None, expected_sync: str, attempt: int, now: datetime, settings: RunSettings
) -> Waiting | Outcome:
    """How the attempt stands, from its Job (None: it is gone) and its pod (None: none was seen)."""
    # The Job controller deletes the pod before it says why, so the time itself counts as well.
    deadline = job is not None and (_reason(job, "DeadlineExceeded") or job.overdue(now))
    if job is not None and job.held and (pod is None or pod.exit_code != 0):
        # A queue of the cluster holds it back or has preempted it: the same Job goes on with a new pod, and that from
        # the committed checkpoint. What the old pod said on its way out is no end of the attempt.
        return Waiting(Reason.QUEUED, "its Job is suspended by a queue of the cluster")
    if pod is not None and pod.exit_code is not None:
        return _ended(pod, Expected(expected_sync, attempt, pod.uid), job, deadline)
    if deadline:
        return _deadline(pod)
    if pod is not None and pod.disruption and (pod.gone or pod.phase == "Failed"):
        return _disrupted(f"its pod was removed ({pod.disruption})")
    if pod is not None and pod.gone:
        return _disrupted("its pod was deleted")
    if pod is not None and pod.deleting_since is not None:
        patience = _LOST_NODE_SECONDS if pod.disruption == _LOST_NODE else GRACE_SECONDS + 30
        lost_at = pod.deleting_since + timedelta(seconds=patience)
        if now >= lost_at:
            return _disrupted("its node stopped answering")
        return Waiting(Reason.RUNNING, "its pod is being stopped", lost_at)
    if job is None:
        return Outcome(
            Kind.TRANSIENT, Reason.RESULT_LOST, "its Job was deleted before it told a result", exit_code=None
        )
    if pod is not None and pod.phase == "Failed":
        return _without_result(pod.exit_code, job.name)
    if lost := _over_without_pod(job, now):
        return lost
    return _waiting(job, pod, now, settings)


def retry_at(outcome: Outcome, failures: int, disruptions: int, max_attempts: int, now: datetime) -> datetime | None:
    """When the next attempt starts; None if there is none. `failures` counts this end if it counts at all."""
    if outcome.kind is Kind.DISRUPTED and disruptions <= MAX_UNCOUNTED_DISRUPTIONS:
        return now + timedelta(seconds=min(10 * (disruptions - 1), 120))
    if outcome.kind not in (Kind.TRANSIENT, Kind.RATE_LIMITED, Kind.DISRUPTED) or failures >= max_attempts:
        return None
    wait = min(BACKOFF_SECONDS * 2 ** max(0, failures - 1), MAX_BACKOFF_SECONDS)
    if outcome.kind is Kind.RATE_LIMITED and outcome.retry_after is not None:
        wait = max(1, outcome.retry_after)
    return now + timedelta(seconds=wait)


def counts(outcome: Outcome, disruptions: int) -> bool:
    """Whether this end counts against retry.maxAttempts. `disruptions` includes this one."""
    if outcome.kind is Kind.DISRUPTED:
        return disruptions > MAX_UNCOUNTED_DISRUPTIONS
    return outcome.kind is not Kind.SUCCESS


def _ended(pod: PodFacts, expected: Expected, job: JobFacts | None, deadline: bool) -> Outcome:
    code = pod.exit_code if pod.exit_code is not None else -1
    parsed = parse_result(pod.message, expected, code)
    told = parsed if isinstance(parsed, RunResult) else None
    if pod.ended_by == "OOMKilled" and (told is None or _kind(told) is Kind.TRANSIENT):
        # A container is called so too when the kernel ended something else in it: then what the run itself said counts.
        return _out_of_memory(code, pod, told)
    if isinstance(parsed, RunResult):
        kind = _kind(parsed)
        if kind is Kind.TRANSIENT and not deadline and (pod.disruption or pod.deleting_since is not None):
            kind = Kind.DISRUPTED
        message = parsed.message or str(parsed.reason)
        return Outcome(kind, parsed.reason, message, code, parsed, parsed.retry_after_seconds)
    if deadline:
        return _deadline(pod)
    if pod.disruption or pod.deleting_since is not None or pod.ended_by == "ContainerStatusUnknown":
        return _disrupted(f"its pod was removed ({pod.disruption or 'deleted'})")
    if isinstance(parsed, Unreadable):
        return Outcome(
            Kind.FAILED, Reason.RESULT_INVALID, f"the connector's result was not accepted: {parsed.why}", code
        )
    return _without_result(code, job.name if job else "")


def _kind(result: RunResult) -> Kind:
    return _KINDS.get(result.reason, Kind.TRANSIENT)


def _out_of_memory(code: int, pod: PodFacts, result: RunResult | None) -> Outcome:
    """Where the kernel ended one process of two, the other has still told what was committed."""
    limit = f" of {printable(pod.memory_limit)[:30]}" if pod.memory_limit else ""
    text = f"the connector needed more memory than its limit{limit}: raise spec.job.resources.limits.memory"
    return Outcome(Kind.TRANSIENT, Reason.OUT_OF_MEMORY, text, code, result)


def _without_result(code: int | None, job_name: str) -> Outcome:
    logs = f": kubectl logs job/{job_name} may tell why" if job_name else ""
    if code in _BY_EXIT_CODE:
        reason, message = _BY_EXIT_CODE[code]
        return Outcome(_KINDS[reason], reason, f"{message}{logs}", code)
    if code == ExitCode.TRANSIENT:
        return Outcome(Kind.TRANSIENT, Reason.RETRIES_EXHAUSTED, f"the connector met a fault that may pass{logs}", code)
    ended = "without an exit code" if code is None else f"with exit code {code}"
    return Outcome(Kind.TRANSIENT, Reason.RESULT_LOST, f"the run ended {ended} and left no result{logs}", code)


def _deadline(pod: PodFacts | None) -> Outcome:
    if pod is not None and not pod.running and pod.exit_code is None and not pod.gone:
        text = f"no pod ran before the deadline: {_why_pending(pod)}"
    else:
        text = (
            "the run took longer than its deadline. What was written stays, the next attempt goes on from there;"
            " spec.job.activeDeadlineSeconds gives it more time"
        )
    return Outcome(Kind.TRANSIENT, Reason.DEADLINE_EXCEEDED, text, pod.exit_code if pod else None)


def _disrupted(why: str) -> Outcome:
    return Outcome(Kind.DISRUPTED, Reason.DISRUPTED, f"the attempt was interrupted: {why}")


def _reason(job: JobFacts, reason: str) -> bool:
    return any(job.conditions.get(name, ("",))[0] == reason for name in ("Failed", "FailureTarget"))


def _over_without_pod(job: JobFacts, now: datetime) -> Waiting | Outcome | None:
    """A Job that is over while its pod has not told its end: wait for the pod's last words, then call them lost."""
    for name in ENDS:
        if name not in job.conditions:
            continue
        _, message, since = job.conditions[name]
        if "DisruptionTarget" in message:
            return _disrupted("its pod was removed")
        until = (since or now) + timedelta(seconds=_NEWS_SECONDS)
        if now < until:
            return Waiting(Reason.RUNNING, "the run has ended, its result is being read", until)
        return Outcome(Kind.TRANSIENT, Reason.RESULT_LOST, "the run ended and its pod is gone together with its result")
    return None


def _waiting(job: JobFacts, pod: PodFacts | None, now: datetime, settings: RunSettings) -> Waiting | Outcome:
    born = job.created or now
    if pod is None:
        late = born + timedelta(seconds=_NO_POD_SECONDS)
        if now < late:
            return Waiting(Reason.PENDING, "its pod is being made", late)
        return Waiting(
            Reason.PENDING, f"no pod was made yet, perhaps for a quota: kubectl describe job {job.name} tells why"
        )
    if pod.running or pod.phase == "Running":
        return Waiting(Reason.RUNNING, "reading")
    give_up = born + timedelta(seconds=settings.start_timeout_seconds)
    why = _why_pending(pod)
    if pod.waiting in _PULL_NEVER or (pod.waiting in _PULL and now >= give_up):
        return Outcome(Kind.FAILED, Reason.IMAGE_PULL_FAILED, why)
    if _volume(pod) and now >= give_up:
        return Outcome(Kind.FAILED, Reason.VOLUME_NOT_BOUND, why)
    return Waiting(Reason.PENDING, why, give_up if now < give_up else None)


def _volume(pod: PodFacts) -> bool:
    text = pod.unschedulable.lower()
    return "persistentvolume" in text or "volume node affinity" in text


def _why_pending(pod: PodFacts) -> str:
    if pod.waiting in _PULL | _PULL_NEVER:
        return f"its image {printable(pod.image)[:200]} cannot be pulled ({pod.waiting})"
    if _volume(pod):
        return f"its volume is not ready: {printable(pod.unschedulable)[:300]}"
    if pod.unschedulable:
        return f"no node can run its pod: {printable(pod.unschedulable)[:300]}"
    if pod.waiting and pod.waiting != "ContainerCreating":
        return f"its pod cannot start ({printable(pod.waiting)[:60]})"
    return "its pod is starting"
