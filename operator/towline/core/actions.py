"""What a reconciler wants done. A small layer performs the actions in order and stops at the first that fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Literal

from towline.contract import RunResult


@dataclass(frozen=True)
class CreateSync:
    body: dict[str, Any]


@dataclass(frozen=True)
class DeleteSync:
    name: str
    uid: str


@dataclass(frozen=True)
class CreateJob:
    body: dict[str, Any]


@dataclass(frozen=True)
class DeleteJob:
    name: str
    uid: str


@dataclass(frozen=True)
class EnsureClaim:
    """Create the volume of the SQLite destination unless it exists."""

    body: dict[str, Any]


@dataclass(frozen=True)
class PatchStatus:
    """The whole status that Towline owns; the write is refused if the object has changed meanwhile."""

    status: dict[str, Any]


@dataclass(frozen=True)
class Emit:
    """A Kubernetes event about the object. `reason` is CamelCase."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class CountRun:
    """A SyncJob has ended: for the metrics, once its status is written."""

    trigger: str
    reason: str
    seconds: float | None


@dataclass(frozen=True)
class CountAttempt:
    """An attempt has ended with a result: records and requests for the metrics."""

    result: RunResult


@dataclass(frozen=True)
class CountStart:
    """A SyncJob has started after waiting for this many seconds."""

    seconds: float


@dataclass(frozen=True)
class CountMissed:
    ticks: int


Action = (
    CreateSync
    | DeleteSync
    | CreateJob
    | DeleteJob
    | EnsureClaim
    | PatchStatus
    | Emit
    | CountRun
    | CountAttempt
    | CountStart
    | CountMissed
)


class Slot(Enum):
    """What a SyncJob wants of the limit on syncs that run at once."""

    HOLD = "hold"
    WANT = "want"
    RELEASE = "release"


@dataclass(frozen=True)
class Decision:
    """Actions in order, when to look again although nothing changes, and the slot."""

    actions: list[Action] = field(default_factory=list)
    look_again: datetime | None = None
    slot: Slot = Slot.RELEASE


def earliest(*moments: datetime | None) -> datetime | None:
    """The first of the moments that are given."""
    return min((moment for moment in moments if moment is not None), default=None)
