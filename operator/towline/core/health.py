"""What probes of one Integration have come to. Hysteresis keeps a single lost packet from raising an alarm.

State moves from what was seen last: three failures in a row mean down, two good answers in a row end that, and
failures in between mean degraded. Nothing here changes with every probe, so that a status need not either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from towline.api.conditions import Reason
from towline.api.integrationstatus import CredentialsStatus, HealthStatus
from towline.core import expiry, times
from towline.core.expiry import Expiry, What

FAILURES_UNTIL_DOWN = 3
SUCCESSES_UNTIL_HEALTHY = 2
CONFIRM_SECONDS = 20
"""The pause before the next probe while the state is about to change."""
_WINDOW = 5
_SMOOTHING = 0.2


class State(StrEnum):
    UNKNOWN = "Unknown"
    HEALTHY = "Healthy"
    DEGRADED = "Degraded"
    DOWN = "Down"


_REJECTIONS = frozenset({Reason.CREDENTIALS_REJECTED, Reason.PERMISSION_DENIED})


@dataclass(frozen=True, slots=True)
class Probed:
    """One probe. `reason` is Reachable when the system gave the answer that the manifest expects."""

    at: datetime
    reason: Reason
    message: str = ""
    seconds: float = 0.0
    expiries: tuple[Expiry, ...] = ()
    """What was seen to expire, seen again at each probe that came so far."""

    @property
    def answered(self) -> bool:
        """Whether the system is up; one that rejects credentials is."""
        return self.reason is Reason.REACHABLE or self.reason in _REJECTIONS


@dataclass(frozen=True, slots=True)
class Track:
    """The state of one Integration's system and what it rests on."""

    state: State = State.UNKNOWN
    since: datetime | None = None
    last: Probed | None = None
    recent: tuple[bool, ...] = ()
    """The last few probes, the newest last."""
    seconds: float = 0.0
    """Smoothed time of a good answer."""
    told: str = ""
    """The message of the failure that led to this state."""
    told_seconds: float = 0.0
    """`seconds` when the state was reached: what the status shows, so that it is not written at every probe."""
    rejected: str = ""
    """Why the credentials were refused; empty while they are accepted or unknown."""
    refused: str = ""
    """The version of the Secret that the newest probe was refused with."""
    tested: str = ""
    """The version of the Secret that the newest probe had, whatever came of it."""
    expiries: tuple[Expiry, ...] = ()

    @property
    def unsettled(self) -> bool:
        """Whether the next probe may change the state, so that it should come soon."""
        return bool(self.recent) and self.recent[-1] is (self.state is State.DOWN)


def remembered(status: HealthStatus | None, credentials: CredentialsStatus | None = None) -> Track:
    """The track after a restart: state and since are carried on, so a restart is no transition."""
    if status is None or status.state is None:
        return Track()
    seconds = (status.latency_milliseconds or 0) / 1000
    return Track(
        State(status.state),
        times.moment(status.since),
        seconds=seconds,
        told_seconds=seconds,
        told=status.message or "",
        expiries=_remembered(status, credentials),
    )


def _remembered(status: HealthStatus, credentials: CredentialsStatus | None) -> tuple[Expiry, ...]:
    """Until the first probe after a restart says it anew."""
    found = []
    if at := times.moment(status.certificate_expires_at):
        found.append(Expiry(What.CERTIFICATE, at, "The system's certificate"))
    if credentials and (at := times.moment(credentials.expires_at)):
        found.append(Expiry(What.CREDENTIALS, at, "The credentials"))
    return tuple(found)


def observe(track: Track, probed: Probed) -> Track:
    """The track with one more probe."""
    recent = (*track.recent, probed.answered)[-_WINDOW:]
    seconds = track.seconds
    if probed.answered:
        seconds = probed.seconds if not seconds else seconds + _SMOOTHING * (probed.seconds - seconds)
    state = _state(track.state, recent)
    after = replace(
        track,
        last=probed,
        recent=recent,
        seconds=seconds,
        rejected=probed.message if probed.reason in _REJECTIONS else "",
        expiries=probed.expiries if probed.answered else track.expiries,
    )
    if state is track.state:
        return after
    failed = "" if state is State.HEALTHY else (probed.message if not probed.answered else track.told)
    if state is State.HEALTHY:  # what led to the old state must not count once more
        after = replace(after, recent=recent[-SUCCESSES_UNTIL_HEALTHY:])
    return replace(after, state=state, since=probed.at, told=failed, told_seconds=seconds)


def _state(before: State, recent: tuple[bool, ...]) -> State:
    if len(recent) >= FAILURES_UNTIL_DOWN and not any(recent[-FAILURES_UNTIL_DOWN:]):
        return State.DOWN
    good = len(recent) >= SUCCESSES_UNTIL_HEALTHY and all(recent[-SUCCESSES_UNTIL_HEALTHY:])
    if before is State.DOWN:
        return State.HEALTHY if good else State.DOWN
    if before is State.UNKNOWN:
        return State.HEALTHY if recent[-1] else State.UNKNOWN
    if recent.count(False) >= 2:
        return State.DEGRADED
    return State.HEALTHY if before is State.HEALTHY or good else before


def next_probe(track: Track, every: timedelta, offset: timedelta, now: datetime) -> datetime:
    """When to probe again: on a grid of its own for each Integration, so that a restart probes nothing twice."""
    if track.unsettled and every.total_seconds() > CONFIRM_SECONDS:
        return now + timedelta(seconds=CONFIRM_SECONDS)
    epoch = datetime.fromtimestamp(0, now.tzinfo)
    passed = (now - epoch - offset) // every
    return epoch + offset + (passed + 1) * every


def status(track: Track) -> dict[str, Any] | None:
    """What the Integration's status says; changes only when the state does."""
    if track.state is State.UNKNOWN or track.since is None:
        return None
    found: dict[str, Any] = {"state": str(track.state), "since": times.text(track.since)}
    if track.told_seconds:
        found["latencyMilliseconds"] = round(track.told_seconds * 1000)
    if track.told:
        found["message"] = track.told[:256]
    if certificate := expiry.first(track.expiries, What.CERTIFICATE):
        found["certificateExpiresAt"] = times.text(certificate.at)
    return found
