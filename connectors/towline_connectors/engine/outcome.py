"""What a run came to, stream by stream, and its result in words."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

from towline.api.conditions import Reason
from towline.contract import Plan, RunResult, StreamResult
from towline_connectors.engine.errors import (
    AddressNotAllowed,
    ConfigInvalid,
    DestinationFull,
    DestinationUnavailable,
    EngineError,
    Superseded,
)
from towline_connectors.sinks import base


@dataclass(slots=True)
class Counted:
    """A stream's result while it is being counted."""

    name: str
    read: int = 0
    upserted: int = 0
    deleted: int = 0
    rejected: int = 0
    checkpoint: str | None = None
    full: bool = False
    skipped: str | None = None


@dataclass(slots=True)
class Ended:
    """What the streams came to."""

    streams: list[Counted] = field(default_factory=list)
    failure: EngineError | None = None
    notes: list[str] = field(default_factory=list)
    http: dict[str, int] = field(default_factory=dict)
    received: int = 0

    def fail(self, error: EngineError) -> None:
        self.failure = self.failure or error

    def of(self, name: str) -> Counted:
        """The count of a stream, made at the first call."""
        for known in self.streams:
            if known.name == name:
                return known
        made = Counted(name)
        self.streams.append(made)
        return made


def result_of(plan: Plan, pod_uid: str, ended: Ended) -> RunResult:
    """What the run leaves behind."""
    failure = ended.failure
    reason, message, retry = Reason.COMPLETED, "", None
    if failure is not None:
        reason, message = failure.reason, failure.message
        retry = None if failure.retry_after is None else min(86400, int(failure.retry_after) + 1)
    elif any(stream.skipped for stream in ended.streams):
        reason = Reason.PARTIALLY_COMPLETED
    if failure is None:
        message = _summary(plan, ended)
    return RunResult(
        sync_uid=plan.sync.uid[:64],
        attempt=plan.sync.attempt,
        pod_uid=pod_uid[:64],
        reason=reason,
        message=message[:600],
        retry_after_seconds=retry,
        streams=[StreamResult(**asdict(stream)) for stream in ended.streams[:50]],
        http=dict(sorted(ended.http.items())[:16]),
        received=ended.received,
    )


def _summary(plan: Plan, ended: Ended) -> str:
    if plan.mode == "Check":
        return "; ".join(["The system takes the credentials", *ended.notes]) + "."
    read = sum(stream.read for stream in ended.streams)
    upserted = sum(stream.upserted for stream in ended.streams)
    deleted = sum(stream.deleted for stream in ended.streams)
    rejected = sum(stream.rejected for stream in ended.streams)
    parts = [f"{read} records read, {upserted} rows new or changed, {deleted} deleted"]
    if rejected:
        parts.append(f"{rejected} records rejected")
    return "; ".join([", ".join(parts), *ended.notes]) + "."


def of_sink(error: base.SinkError) -> EngineError:
    if isinstance(error, base.Superseded):
        return Superseded(str(error))
    if isinstance(error, base.AddressClosed):
        return AddressNotAllowed(str(error))
    if error.full:
        return DestinationFull(str(error))
    return DestinationUnavailable(str(error)) if error.transient else ConfigInvalid(str(error))
