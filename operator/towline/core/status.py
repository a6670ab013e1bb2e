"""The status of an Integration, from its check and its runs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from towline.api.conditions import Condition, ConditionType, Reason
from towline.api.integrationstatus import HourCounts, IntegrationStatus, StreamStatus
from towline.core import recent, times
from towline.core.attempts import PERMANENT_REASONS
from towline.core.conditions import Wanted, find, sentence
from towline.core.health import State, Track
from towline.core.runs import Run
from towline.core.schedule import Timetable, stale_at
from towline.core.validate import Problem

FAILURES_UNTIL_NOT_READY = 3


@dataclass(frozen=True)
class Verdict:
    """What the newest finished run said, or, when it is gone, what the status remembers of it."""

    reason: str
    message: str
    current: bool
    """Whether the run used the spec and the credentials as they are now."""
    spec_changed: bool = False

    @property
    def stopping(self) -> bool:
        """Whether no scheduled run may start before something changes."""
        return self.current and (self.reason in PERMANENT_REASONS or self.reason == Reason.POLICY_VIOLATION)

    @property
    def cured(self) -> bool:
        """Whether a run that ended for good may be tried again, because its cause may have changed."""
        if self.reason == Reason.POLICY_VIOLATION:
            return not self.current and self.spec_changed
        return not self.current and self.reason in PERMANENT_REASONS


@dataclass(frozen=True)
class History:
    """What the runs have come to, carried on from the last status."""

    last_success: datetime | None
    last_failure: datetime | None
    failures: int
    last: Run | None
    last_name: str
    last_reason: str
    credentials_version: str
    checked: datetime | None
    streams: tuple[StreamStatus, ...]
    hours: tuple[HourCounts, ...] = ()


def account(before: IntegrationStatus, runs: Iterable[Run]) -> History:
    """Add the runs that finished since the last status. The newest run in a status is never added twice."""
    finished = sorted(
        (run for run in runs if run.finished and (run.succeeded or run.failed)), key=lambda run: run.order
    )
    credentials = before.credentials
    history = History(
        last_success=times.moment(before.last_successful_time),
        last_failure=times.moment(before.last_failure_time),
        failures=before.consecutive_failures or 0,
        last=finished[-1] if finished else None,
        last_name=(before.last_sync.name or "") if before.last_sync else "",
        last_reason=(before.last_sync.reason or "") if before.last_sync else "",
        credentials_version=(credentials.observed_version or "") if credentials else "",
        checked=times.moment(credentials.checked_time) if credentials else None,
        streams=tuple(before.streams or ()),
    )
    new = _new(before, finished)
    for run in new:
        history = _add(history, run)
    return replace(history, hours=recent.add(before.recent, new))


def _new(before: IntegrationStatus, finished: list[Run]) -> list[Run]:
    name = (before.last_sync.name or "") if before.last_sync else ""
    marked = next((run for run in finished if run.name == name), None)
    if marked is not None:
        return [run for run in finished if run.order > marked.order]
    seen = [times.moment(before.last_successful_time), times.moment(before.last_failure_time)]
    newest = max((moment for moment in seen if moment is not None), default=None)
    return [run for run in finished if newest is None or (run.completed is not None and run.completed > newest)]


def _add(history: History, run: Run) -> History:
    # Only a run that started an attempt has used credentials; one refused before that says nothing new.
    version = run.credentials_version if run.attempts else history.credentials_version
    checked = run.completed if run.attempts and run.credentials_version else history.checked
    history = replace(history, last_name=run.name, last_reason=run.reason, credentials_version=version, checked=checked)
    if run.mode == "Check":
        return history
    if run.succeeded:
        return replace(history, last_success=run.completed, failures=0, streams=_streams(history.streams, run))
    streams = _streams(history.streams, run)
    return replace(history, last_failure=run.completed, failures=history.failures + 1, streams=streams)


def _streams(before: tuple[StreamStatus, ...], run: Run) -> tuple[StreamStatus, ...]:
    known = {stream.name: stream for stream in before}
    done = times.text(run.completed) if run.completed else None
    for entry in run.streams:
        old = known.get(entry.name, StreamStatus(name=entry.name))
        complete = run.succeeded and not entry.skipped
        known[entry.name] = StreamStatus(
            name=entry.name,
            last_successful_time=done if complete else old.last_successful_time,
            last_full_time=done if complete and entry.full else old.last_full_time,
            checkpoint=entry.checkpoint or old.checkpoint,
        )
    return tuple(known.values())[:50]


def verdict(
    before: IntegrationStatus, history: History, generation: int, connector_generation: int, credentials_version: str
) -> Verdict | None:
    """What the newest run says of the Integration as it is now; None if none has said anything."""
    run = history.last
    if run is not None and run.name == history.last_name:
        spec_changed = run.integration_generation != generation or run.connector_generation != connector_generation
        same_secret = run.credentials_version == credentials_version
        current = not spec_changed and (same_secret or run.reason == Reason.POLICY_VIOLATION)
        return Verdict(run.reason, run.message, current, spec_changed)
    stalled = find(before.conditions, ConditionType.STALLED)
    if stalled is None or stalled.reason != history.last_reason:
        return None
    spec_changed = stalled.observed_generation != generation
    same_secret = history.credentials_version == credentials_version
    current = not spec_changed and (same_secret or stalled.reason == Reason.POLICY_VIOLATION)
    return Verdict(stalled.reason, stalled.message, current, spec_changed)


def conditions(
    before: list[Condition] | None,
    problem: Problem | None,
    said: Verdict | None,
    history: History,
    active: list[Run],
    table: Timetable | None,
    suspended: bool,
    now: datetime,
    health: Track | None = None,
) -> list[Wanted]:
    """All conditions of an Integration."""
    wanted = _ready(problem, said, history)
    wanted += _credentials(before, said, history, health)
    wanted += _probed(health, history) or _healthy(before, history, active)
    if table is not None and not suspended and history.last_success is not None:
        wanted.append(_fresh(table, history.last_success, now))
    return wanted


def _ready(problem: Problem | None, said: Verdict | None, history: History) -> list[Wanted]:
    if problem is not None:
        return _stalled(problem.reason, problem.message)
    if said is not None and said.stopping:
        return _stalled(said.reason, _cure(said))
    if history.failures >= FAILURES_UNTIL_NOT_READY:
        why = sentence(history.last.message) if history.last is not None else "See the events"
        text = f"The last {history.failures} syncs failed. {history.last_reason}: {why}"
        return [Wanted(ConditionType.READY, "False", Reason.SYNC_FAILED, text)]
    if history.last_success is None:
        return [Wanted(ConditionType.READY, "True", Reason.AWAITING_FIRST_SYNC, "Checked; no sync has ended yet")]
    text = "The last sync succeeded"
    if history.failures:
        text = f"Synced before; {'the last sync' if history.failures == 1 else 'the last two syncs'} failed"
    return [Wanted(ConditionType.READY, "True", Reason.SYNCED, text)]


def _stalled(reason: str, message: str) -> list[Wanted]:
    text = sentence(message)
    return [
        Wanted(ConditionType.READY, "False", reason, text),
        Wanted(ConditionType.STALLED, "True", reason, text),
    ]


def _cure(said: Verdict) -> str:
    cures = {
        Reason.CREDENTIALS_REJECTED: "Put valid credentials into the Secret: Towline notices within seconds",
        Reason.PERMISSION_DENIED: "Give the account the missing right, then ask again with the annotation"
        " towline.dev/requested-at",
        Reason.POLICY_VIOLATION: "Look into it; then either change the spec or ask again with the annotation"
        " towline.dev/requested-at",
    }
    cure = cures.get(Reason(said.reason)) if said.reason in set(Reason) else None
    text = sentence(said.message)
    return text if cure is None or cure in text else f"{text}. {cure}"


def _credentials(
    before: list[Condition] | None, said: Verdict | None, history: History, health: Track | None
) -> list[Wanted]:
    type_ = ConditionType.CREDENTIALS_VALID
    if health is not None and health.rejected and _newer(health, history):
        return [Wanted(type_, "False", Reason.REJECTED, sentence(health.rejected))]
    old = find(before, type_)
    proven = health is not None and health.last is not None and health.last.reason is Reason.REACHABLE
    if health is not None and proven and _newer(health, history) and old is not None and old.status != "True":
        return [Wanted(type_, "True", Reason.ACCEPTED, "The system accepted the credentials")]
    if history.last is not None and history.last.credentials_version:
        if history.last.succeeded or history.last.reason == Reason.POLICY_VIOLATION:
            return [Wanted(type_, "True", Reason.ACCEPTED, "The system accepted the credentials")]
        if history.last.reason == Reason.CREDENTIALS_REJECTED:
            if said is not None and not said.current:
                return [Wanted(type_, "Unknown", Reason.PROGRESSING, "The Secret has changed and is being tried")]
            return [Wanted(type_, "False", Reason.REJECTED, sentence(history.last.message))]
    return _kept(before, type_)


def _newer(health: Track, history: History) -> bool:
    ended = history.last.completed if history.last is not None else None
    return health.last is not None and (ended is None or health.last.at >= ended)


def _probed(health: Track | None, history: History) -> list[Wanted]:
    """What probes say, where there are any and no later run knows better."""
    if health is None or health.state is State.UNKNOWN or not _newer(health, history):
        return []
    if health.state is State.DOWN:
        return [Wanted(ConditionType.HEALTHY, "False", Reason.UNREACHABLE, sentence(health.told))]
    if health.state is State.DEGRADED:
        text = f"Some of the last probes failed. {sentence(health.told)}"
        return [Wanted(ConditionType.HEALTHY, "True", Reason.DEGRADED, text)]
    return [Wanted(ConditionType.HEALTHY, "True", Reason.REACHABLE, "The system answers")]


def _healthy(before: list[Condition] | None, history: History, active: list[Run]) -> list[Wanted]:
    type_ = ConditionType.HEALTHY
    for run in active:  # between two attempts the cause of the first is already known
        if run.progress_reason in (Reason.UNREACHABLE, Reason.RATE_LIMITED):
            return [Wanted(type_, "False", run.progress_reason, run.message)]
    if history.last is not None:
        if history.last.reason in (Reason.UNREACHABLE, Reason.RATE_LIMITED):
            return [Wanted(type_, "False", history.last.reason, sentence(history.last.message))]
        if history.last.succeeded or history.last.reason in (Reason.CREDENTIALS_REJECTED, Reason.PERMISSION_DENIED):
            return [Wanted(type_, "True", Reason.REACHABLE, "The system answers")]
    return _kept(before, type_)


def _fresh(table: Timetable, last_success: datetime, now: datetime) -> Wanted:
    limit = stale_at(table, last_success)
    if now >= limit:
        text = f"No sync has succeeded since {times.text(last_success)}: three scheduled times have passed"
        return Wanted(ConditionType.FRESH, "False", Reason.STALE, text)
    return Wanted(ConditionType.FRESH, "True", Reason.UP_TO_DATE, "The last success is younger than three intervals")


def _kept(before: list[Condition] | None, type_: ConditionType) -> list[Wanted]:
    old = find(before, type_)
    if old is not None and old.reason in (Reason.EXPIRES_SOON, Reason.EXPIRED):  # of a date that may have moved
        accepted = Wanted(type_, "True", Reason.ACCEPTED, "The system accepted the credentials")
        return [accepted] if old.status == "True" else []
    if old is not None and old.reason == Reason.CERTIFICATE_EXPIRES_SOON:
        return [Wanted(type_, "True", Reason.REACHABLE, "The system answers")]
    return [Wanted(type_, old.status, old.reason, old.message)] if old is not None else []
