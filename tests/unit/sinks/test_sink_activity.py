"""The record of what happened: complete, written once, kept as long as it has to be."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.unit.sinks.sinkdata import INTEGRATION, identity, rows_of

from towline.api.conditions import Reason
from towline.contract import Activity, Origin, RunResult, StreamResult
from towline_connectors.sinks import open_sink
from towline_connectors.sinks.address import is_postgresql
from towline_connectors.sinks.base import Session

RESULT = {
    "attempt": 1,
    "pod_uid": "pod-1",
    "reason": Reason.COMPLETED,
    "message": "7 records read.",
    "streams": [StreamResult(name="assets", read=7, upserted=3, deleted=1, rejected=2)],
    "http": {"2xx": 4, "429": 1},
    "received": 2048,
}


def opened(target: str, origin: Origin, uid: str = "sync-1", created: str = "2026-11-01T10:00:00Z") -> Session:
    sync = identity(uid, created=created).model_copy(update={"origin": origin})
    return open_sink(target).open(INTEGRATION, "scanner", sync, "pod-1")


def change(generation: int, **digests: str) -> Activity:
    return Activity(
        id=f"change/intg-1/{generation}",
        kind="Change",
        time=f"2026-11-0{generation}T08:00:00Z",
        object="Integration/scanner",
        actor="kubectl-edit",
        detail={"generation": generation, "digests": digests},
    )


def activity(target: str) -> list[dict[str, Any]]:
    rows = rows_of(target, "towline_activity")
    for row in rows:
        row["detail"] = json.loads(row["detail"]) if isinstance(row["detail"], str) else row["detail"]
    return sorted(rows, key=lambda row: (row["recorded_time"], row["id"]))


def change_by_hand(target: str, sql: str) -> None:
    if is_postgresql(target):
        with psycopg.connect(target, autocommit=True) as db:
            db.execute(sql.encode())
        return
    connection = sqlite3.connect(target, isolation_level=None)
    try:
        connection.execute(sql)
    finally:
        connection.close()


def test_a_run_is_recorded_with_who_asked_for_it_and_what_it_took(target: str) -> None:
    session = opened(target, Origin(trigger="Manual", actor="anna"))
    session.finish(RunResult(sync_uid="sync-1", **RESULT))
    (run,) = activity(target)
    assert (run["kind"], run["trigger"], run["actor"], run["outcome"]) == ("Run", "Manual", "anna", "Completed")
    assert (run["records"], run["calls"], run["bytes"]) == (7, 5, 2048)
    assert (run["id"], run["correlation"], run["object"]) == ("run/sync-1/1", "sync-1/1", "SyncJob/sync-1-name")
    assert run["detail"] == {"attempt": 1, "upserted": 3, "deleted": 1, "rejected": 2, "streams": ["assets"]}
    assert run["time"] <= run["finished_time"] < run["keep_until"]


def test_what_happened_before_is_recorded_once_however_often_it_is_told(target: str) -> None:
    check = Activity(id="check/1", kind="Check", time="2026-11-01T09:00:00Z", object="Integration/scanner",
                     outcome="CredentialsRejected")  # fmt: skip
    opened(target, Origin(seen=[check])).close()
    later = check.model_copy(update={"outcome": "Reachable"})
    opened(target, Origin(seen=[later, change(1, schedule="a")]), "sync-2", "2026-11-01T11:00:00Z").close()
    assert [(row["id"], row["outcome"]) for row in activity(target)] == [
        ("check/1", "CredentialsRejected"),
        ("change/intg-1/1", ""),
    ]


def test_a_change_names_the_fields_that_differ_from_the_last_recorded_one(target: str) -> None:
    opened(target, Origin(seen=[change(1, schedule="a", config="x")])).close()
    seen = [change(1, schedule="a", config="x"), change(3, schedule="b", config="x", suspend="t")]
    opened(target, Origin(seen=seen), "sync-2", "2026-11-01T11:00:00Z").close()
    first, second = activity(target)
    assert "changed" not in first["detail"]
    assert second["detail"]["changed"] == ["schedule", "suspend"]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE towline_activity SET actor = 'nobody'",
        "DELETE FROM towline_activity",
        "TRUNCATE towline_activity",
    ],
)
def test_nobody_changes_or_removes_a_record_before_its_time(target: str, sql: str) -> None:
    session = opened(target, Origin(actor="anna"))
    session.finish(RunResult(sync_uid="sync-1", **RESULT))
    session.close()
    if sql.startswith("TRUNCATE") and not is_postgresql(target):
        pytest.skip("SQLite has no TRUNCATE")
    with pytest.raises((sqlite3.Error, psycopg.Error), match="is a record"):
        change_by_hand(target, sql)
    assert [row["actor"] for row in activity(target)] == ["anna"]


def test_a_record_goes_when_it_has_been_kept_long_enough(target: str) -> None:
    opened(target, Origin()).close()
    columns = "id, kind, time, integration, object, recorded_time, keep_until"
    for name, until in (("old", "2020-04-01T00:00:00.000Z"), ("new", "2100-04-01T00:00:00.000Z")):
        values = f"'{name}', 'Run', '2020-01-01T00:00:00.000Z', 'team/gone', 'SyncJob/x', '2020-01-01T00:00:00.000Z'"
        change_by_hand(target, f"INSERT INTO towline_activity ({columns}) VALUES ({values}, '{until}')")
    opened(target, Origin(), "sync-2", "2026-11-01T11:00:00Z").close()
    assert [row["id"] for row in activity(target)] == ["new"]


def test_records_are_kept_as_long_as_the_installation_says(target: str) -> None:
    session = opened(target, Origin(keep_days=7))
    session.finish(RunResult(sync_uid="sync-1", **RESULT))
    (run,) = activity(target)
    kept = datetime.fromisoformat(run["keep_until"]) - datetime.fromisoformat(run["recorded_time"])
    assert timedelta(days=7) - timedelta(seconds=1) < kept < timedelta(days=7, seconds=1)


def test_a_lake_keeps_the_records_of_each_run(tmp_path: Path) -> None:
    target = f"parquet:///{tmp_path / 'lake'}"
    for uid, hour in (("sync-1", 10), ("sync-2", 11)):
        session = opened(target, Origin(actor=uid), uid, f"2026-11-01T{hour}:00:00Z")
        session.finish(RunResult(sync_uid=uid, **RESULT))
        session.close()
    assert [row["actor"] for row in activity(target)] == ["sync-1", "sync-2"]
