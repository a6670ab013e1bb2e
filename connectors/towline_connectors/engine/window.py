"""From where a stream is read in this run, and what its checkpoint becomes. Pure.

A checkpoint is canonical text: ISO 8601 in UTC, or a decimal number for `format: Integer`; with `@anchor` behind
it when it is only good for one server.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from towline.api.base import seconds
from towline.api.manifest import Sync
from towline.contract import StreamPlan
from towline_connectors.engine import values
from towline_connectors.engine.source import Origin, Window
from towline_connectors.engine.values import Mismatch
from towline_connectors.sinks.base import StreamState

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_MAX_DELETE_PERCENT = 50
FILES = "files"  # cursor that tells which reports were read


@dataclass(frozen=True, slots=True)
class Decision:
    """How a stream is read. `scan_id` marks the rows of a scan that may delete what it does not show."""

    window: Window
    full: bool
    scan_id: str | None
    job: dict[str, object] | None  # export job to go on with
    previous: str | None  # the checkpoint that stays until this run moves it, without anchor
    anchor: str | None


def is_opaque(sync: Sync) -> bool:
    """Whether checkpoints are the source's own text, which nobody else reads: tokens, digests of files."""
    return sync.token is not None or sync.cursor == FILES


def split_anchor(cursor: str | None) -> tuple[str | None, str | None]:
    """(value, anchor) of a checkpoint."""
    if not cursor:
        return None, None
    value, found, anchor = cursor.partition("@")
    return value, anchor if found else None


def with_anchor(value: str | None, anchor: str | None) -> str | None:
    return f"{value}@{anchor}" if value is not None and anchor else value


def render(value: str, sync: Sync) -> str:
    """A canonical cursor as `${window.start}` shows it."""
    if sync.format == "Integer":
        return value
    moment = datetime.fromisoformat(value)
    if sync.time_format:
        return moment.strftime(sync.time_format)
    if sync.format == "Epoch":
        return str(int(moment.timestamp() // 1))
    if sync.format == "EpochMillis":
        return str(round(moment.timestamp() * 1000))
    if sync.format == "GeneralizedTime":
        return moment.strftime("%Y%m%d%H%M%S.0Z")
    return value.replace(".000Z", "Z")


def lowest(sync: Sync) -> str:
    """The start of a window that leaves nothing out, canonical."""
    return "0" if sync.format == "Integer" else values.iso(_EPOCH)


def _back(value: str, lookback: str | None, sync: Sync) -> str:
    if not lookback or sync.format == "Integer":
        return value
    return values.iso(max(datetime.fromisoformat(value) - timedelta(seconds=seconds(lookback)), _EPOCH))


def _usable(value: str | None, sync: Sync) -> str | None:
    """A committed cursor, if it is of the form that the manifest uses now."""
    if value is None:
        return None
    try:
        if sync.format == "Integer":
            return str(values.integer(value))
        return values.time(value) if not value.isdigit() else None
    except Mismatch:
        return None


def _full_is_due(sync: Sync, plan: StreamPlan, state: StreamState, now: datetime) -> bool:
    every = plan.full_every or sync.full_every
    if every is None:
        return False
    last = state.last_full_time
    try:
        return last is None or now - datetime.fromisoformat(last) >= timedelta(seconds=seconds(every))
    except ValueError:
        return True


def decide(
    sync: Sync, plan: StreamPlan, state: StreamState, origin: Origin, *, asked_full: bool, run_id: str, now: datetime
) -> Decision:
    """`run_id` is the sync's uid: a later attempt of the same sync goes on with the scan of an earlier one."""
    at = values.iso(now)
    opaque = is_opaque(sync)
    value, anchor = (state.cursor or None, origin.anchor) if opaque else split_anchor(state.cursor)
    value = value if opaque else _usable(value, sync)
    if anchor != origin.anchor:
        value = None
    in_scan = state.full_scan is not None and (state.run_id == run_id or not asked_full)
    complete = sync.deletes.complete_scan if sync.deletes else None
    complete = None if complete == "Never" else complete
    lookback = plan.lookback or sync.lookback

    if state.job and (state.run_id == run_id or not asked_full):
        start = str(state.job.get("window", ""))
        full = bool(state.job.get("full"))
        window = Window(start, full, at, str(state.job.get("since", "")))
        return Decision(window, full, state.full_scan, dict(state.job), value, origin.anchor)
    if in_scan and value is not None and sync.order == "Ascending" and sync.mode == "Incremental":
        # A full scan that was cut off goes on where it stopped: all before the checkpoint carries its scan id.
        window = _since(_back(value, lookback, sync), sync, full=True, at=at)
        return Decision(window, True, state.full_scan, None, value, origin.anchor)

    full = (
        sync.mode == "Full"
        or asked_full
        or plan.full
        or value is None
        or _full_is_due(sync, plan, state, now)
        or in_scan
    )
    if not full and value is not None:
        window = Window(value, False, at) if opaque else _since(_back(value, lookback, sync), sync, full=False, at=at)
        return Decision(window, False, None, None, value, origin.anchor)
    if opaque:
        scan_id = f"{run_id}:{at}" if complete else None
        return Decision(Window("", True, at), True, scan_id, None, value, origin.anchor)
    start = lowest(sync)
    if complete is None and sync.first_run:
        start = values.iso(now - timedelta(seconds=seconds(sync.first_run)))
    scan_id = f"{run_id}:{at}" if complete else None
    return Decision(_since(start, sync, full=True, at=at), True, scan_id, None, value, origin.anchor)


def _since(canonical: str, sync: Sync, *, full: bool, at: str) -> Window:
    return Window(render(canonical, sync), full, at, "" if sync.format == "Integer" else canonical)
