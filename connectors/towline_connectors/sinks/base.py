"""What every destination does: claim, commit batches with their checkpoint, finish.

All state that matters stands in the destination: rows, checkpoints, export jobs and run records commit in
one transaction per batch, and each transaction is fenced by (sync uid, attempt, pod uid).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from towline.contract import RunResult, SyncIdentity


class SinkError(Exception):
    """A destination's failure in a person's words; `transient` tells whether another attempt may help, `in_doubt`
    whether what was to be written may have been."""

    def __init__(self, message: str, *, transient: bool = True, full: bool = False, in_doubt: bool = False) -> None:
        super().__init__(message)
        self.transient = transient
        self.full = full
        self.in_doubt = in_doubt


class AddressClosed(SinkError):  # noqa: N818
    """The destination is at an address that runs may not connect to; nothing was sent there."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=False)


class Superseded(SinkError):  # noqa: N818
    """A newer attempt owns this integration; this one must stop without writing."""

    def __init__(self, message: str) -> None:
        super().__init__(message, transient=False)


@dataclass(slots=True)
class StreamState:
    """Checkpoint of one stream of one integration, as committed."""

    cursor: str | None = None
    job: dict[str, Any] | None = None  # export job in progress: {"id", "created", "window_start", "done": […], "full"}
    last_full_time: str | None = None  # ISO 8601
    run_id: str | None = None  # the sync uid that wrote it
    full_scan: str | None = None  # id of a full scan in progress; rows seen in it carry it (`scan_id`)


@dataclass(slots=True)
class Replacement:
    """The group of rows of `entity` whose reference `field` is `key` consists of `keys` and no others."""

    entity: str
    field: str
    key: str
    keys: list[str]


@dataclass(slots=True)
class Batch:
    """What commits together. `rows` maps an entity's name to tuples in the order of its `Entity.columns`."""

    stream: str
    seq: int  # grows within (run, stream); a batch that was committed already is a no-op
    rows: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)
    tombstones: dict[str, list[str]] = field(default_factory=dict)  # entity -> source keys
    replacements: list[Replacement] = field(default_factory=list)
    rejected: list[tuple[str | None, str, bytes]] = field(default_factory=list)  # (source key, why, raw JSON)
    state: StreamState | None = None  # committed with the rows; None leaves it as it is
    read: int = 0


@dataclass(slots=True)
class Written:
    """What a commit changed."""

    upserted: int = 0  # new or changed rows
    deleted: int = 0
    rejected: int = 0  # rows that the destination could not take: their source key is too long for an index


class Session(Protocol):
    """One run's hold on the destination. Not thread-safe; the engine calls it from its writer thread only."""

    def states(self) -> dict[str, StreamState]:
        """Committed state of each stream of this integration."""

    def commit(self, batch: Batch) -> Written:
        """Write it all in one transaction. Raises Superseded, SinkError."""

    def finish_scan(
        self,
        stream: str,
        entities: list[str],
        scan_id: str,
        state: StreamState,
        max_delete_percent: int | None,
    ) -> Written:
        """After a complete full scan: mark rows of this stream that the scan did not show as deleted, in one
        transaction with `state`. Raises DeleteGuard when more than `max_delete_percent` of the live rows would go.
        """

    def finish(self, result: RunResult) -> None:
        """Write the run record."""

    def close(self) -> None: ...


class DeleteGuard(SinkError):  # noqa: N818
    """A complete scan would delete more than the guard allows; nothing was deleted."""

    def __init__(self, message: str, *, percent: float, limit: int) -> None:
        super().__init__(message, transient=False)
        self.percent = percent
        self.limit = limit


class Sink(Protocol):
    def open(self, integration: str, connector: str, sync: SyncIdentity, pod_uid: str) -> Session:
        """Make or migrate the tables, claim the integration for this attempt. Raises Superseded when a newer
        attempt holds it, SinkError when the destination cannot be reached or is full."""
