"""Towline's own tables: claims, runs, checkpoints, batches, rejected records. Each call belongs in a transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import orjson

from towline.contract import RunResult
from towline_connectors.sinks.base import StreamState, Written
from towline_connectors.sinks.claims import Claim, check_held, check_takeover
from towline_connectors.sinks.schema import upsert
from towline_connectors.sinks.store import Store

KEPT_REJECTED: Final = 1000  # newest rejected records that stay, for each stream of an integration
KEPT_RUNS: Final = 1000  # newest run records that stay, for each integration
REJECTED_RAW_BYTES: Final = 16384
_INSERT_ROWS: Final = 100

Rejected = tuple[str | None, str, bytes]


def utc_now() -> str:
    """Now as ISO 8601 in UTC, with three digits of fraction as the engine writes times."""
    return f"{datetime.now(UTC).isoformat(timespec='milliseconds')[:23]}Z"


def take_claim(store: Store, integration: str, mine: Claim, now: str) -> None:
    """Make `mine` the integration's claim. Raises Superseded when a newer one holds it."""
    row = store.lock_claim(integration)
    check_takeover(mine, Claim(*row) if row else None, integration)
    _upsert(
        store,
        "towline_claims",
        {
            "integration": integration,
            "token": mine.token,
            "sync_uid": mine.sync_uid,
            "sync_name": mine.sync_name,
            "created": mine.created,
            "attempt": mine.attempt,
            "pod_uid": mine.pod_uid,
            "claimed_time": now,
        },
    )


def check_claim(store: Store, integration: str, mine: Claim) -> None:
    """Lock the claim. Raises Superseded unless it still is `mine`."""
    row = store.lock_claim(integration)
    check_held(mine, Claim(*row) if row else None, integration)


def start_run(store: Store, integration: str, connector: str, mine: Claim, now: str) -> None:
    """Note that a run began, and forget the oldest ones."""
    _upsert(
        store,
        "towline_runs",
        {
            "sync_uid": mine.sync_uid,
            "attempt": mine.attempt,
            "pod_uid": mine.pod_uid,
            "sync_name": mine.sync_name,
            "integration": integration,
            "connector": connector,
            "started_time": now,
        },
    )
    store.execute(
        "DELETE FROM towline_runs WHERE integration = ? AND started_time < (SELECT started_time"
        " FROM towline_runs WHERE integration = ? ORDER BY started_time DESC LIMIT 1 OFFSET ?)",
        (integration, integration, KEPT_RUNS - 1),
    )


def finish_run(store: Store, mine: Claim, result: RunResult) -> None:
    """Note how a run ended."""
    streams = result.streams
    store.execute(
        "UPDATE towline_runs SET finished_time = ?, reason = ?, message = ?, read = ?, upserted = ?,"
        " deleted = ?, rejected = ?, streams = ?, http = ? WHERE sync_uid = ? AND attempt = ? AND pod_uid = ?",
        (
            utc_now(),
            str(result.reason),
            result.message,
            sum(stream.read for stream in streams),
            sum(stream.upserted for stream in streams),
            sum(stream.deleted for stream in streams),
            sum(stream.rejected for stream in streams),
            orjson.dumps([stream.model_dump(mode="json") for stream in streams]).decode(),
            orjson.dumps(result.http).decode(),
            mine.sync_uid,
            mine.attempt,
            mine.pod_uid,
        ),
    )


def read_states(store: Store, integration: str) -> dict[str, StreamState]:
    """The committed state of each stream."""
    rows = store.fetch(
        "SELECT stream, cursor, job, last_full_time, run_id, full_scan FROM towline_checkpoints WHERE integration = ?",
        (integration,),
    )
    return {
        stream: StreamState(cursor, orjson.loads(job) if job else None, last_full_time, run_id, full_scan)
        for stream, cursor, job, last_full_time, run_id, full_scan in rows
    }


def save_state(store: Store, integration: str, stream: str, run_id: str, state: StreamState) -> None:
    """Overwrite a stream's state."""
    _upsert(
        store,
        "towline_checkpoints",
        {
            "integration": integration,
            "stream": stream,
            "cursor": state.cursor,
            "job": orjson.dumps(state.job).decode() if state.job else None,
            "last_full_time": state.last_full_time,
            "run_id": state.run_id or run_id,
            "full_scan": state.full_scan,
            "updated_time": utc_now(),
        },
    )


def forget_batches(store: Store, integration: str) -> None:
    """Batch numbers begin anew with each session."""
    store.execute("DELETE FROM towline_batches WHERE integration = ?", (integration,))


def committed(store: Store, integration: str, stream: str, token: str, seq: int) -> Written | None:
    """What a batch of this session wrote, if it was committed."""
    rows = store.fetch(
        "SELECT upserted, deleted, rejected FROM towline_batches"
        " WHERE integration = ? AND stream = ? AND token = ? AND seq >= ?",
        (integration, stream, token, seq),
    )
    return Written(*rows[0]) if rows else None


def save_batch(store: Store, integration: str, stream: str, token: str, seq: int, written: Written) -> None:
    """Note that a batch is committed with this transaction."""
    _upsert(
        store,
        "towline_batches",
        {
            "integration": integration,
            "stream": stream,
            "token": token,
            "seq": seq,
            "upserted": written.upserted,
            "deleted": written.deleted,
            "rejected": written.rejected,
            "committed_time": utc_now(),
        },
    )


def keep_rejected(store: Store, integration: str, stream: str, run_id: str, rejected: list[Rejected]) -> None:
    """Keep the newest records that could not be mapped, for people to look at."""
    now = utc_now()
    newest = rejected[-KEPT_REJECTED:]
    for start in range(0, len(newest), _INSERT_ROWS):
        params: list[Any] = []
        part = newest[start : start + _INSERT_ROWS]
        for key, reason, raw in part:
            text = raw[:REJECTED_RAW_BYTES].decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
            params += (integration, stream, key, reason, text, run_id, now)
        store.execute(
            "INSERT INTO towline_rejected (integration, stream, source_key, reason, raw, run_id, time)"
            f" VALUES {', '.join(['(?, ?, ?, ?, ?, ?, ?)'] * len(part))}",
            tuple(params),
        )
    store.execute(
        "DELETE FROM towline_rejected WHERE integration = ? AND stream = ? AND id <= (SELECT id"
        " FROM towline_rejected WHERE integration = ? AND stream = ? ORDER BY id DESC LIMIT 1 OFFSET ?)",
        (integration, stream, integration, stream, KEPT_REJECTED),
    )


def _upsert(store: Store, table: str, values: dict[str, Any]) -> None:
    store.execute(upsert(table, tuple(values)), tuple(values.values()))
