from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.plans import SECRETS, plan, rows, spec, sync, users
from tests.unit.engine.test_engine_run import people, serve_users
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline_connectors.engine.run import run
from towline_connectors.sinks import open_sink
from towline_connectors.sinks.base import Batch, Session, SinkError, Superseded, Written


def test_a_destination_in_a_process_of_its_own_ends_with_the_same_rows(
    vendor: Vendor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline_connectors.engine.writer.MAX_RECORDS", 7)
    manifest = spec(vendor.url, [users()])
    for database, apart in ((tmp_path / "a.db", False), (tmp_path / "b.db", True)):
        serve_users(vendor, people(33))
        first = sync(plan(manifest), database, apart=apart)
        serve_users(vendor, people(25))
        second = sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database, apart=apart)
        assert (first.streams[0].upserted, second.streams[0].deleted) == (33, 8)
    query = "select source_key, name, uid, deleted_time is null, content_hash from users order by 1"
    assert rows(tmp_path / "a.db", query) == rows(tmp_path / "b.db", query)
    assert rows(tmp_path / "b.db", "select reason, read from towline_runs order by 2") == [
        ("Completed", 25),
        ("Completed", 33),
    ]


def test_the_guard_and_the_fence_hold_across_the_process(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(10))
    manifest = spec(vendor.url, [users()])
    sync(plan(manifest), database, apart=True)
    serve_users(vendor, [])
    result = sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database, apart=True)
    assert result.reason is Reason.POLICY_VIOLATION
    old = sync(plan(manifest, uid="s0", created="2025-01-02T00:00:00Z"), database, apart=True)
    assert old.reason is Reason.SUPERSEDED


class Session_:  # noqa: N801
    """A destination that fails at its second commit in a given way."""

    def __init__(self, failure: Any) -> None:
        self.failure, self.commits = failure, 0

    def open(self, *_arguments: Any) -> Session:
        return self  # type: ignore[return-value]

    def states(self) -> dict[str, Any]:
        return {}

    def commit(self, _batch: Batch) -> Written:
        self.commits += 1
        if self.commits == 2:
            self.failure()
        return Written(1, 0)

    def finish(self, _result: Any) -> None: ...

    def close(self) -> None: ...


def fail(error: Exception) -> Any:
    def raise_() -> None:
        raise error

    return raise_


@pytest.mark.parametrize(
    ("failure", "reason", "says"),
    [
        (fail(SinkError("The volume is full.", full=True)), Reason.DESTINATION_FULL, "The volume is full."),
        (fail(SinkError("It is locked.")), Reason.DESTINATION_UNAVAILABLE, "It is locked."),
        (fail(Superseded("A newer one.")), Reason.SUPERSEDED, "A newer one."),
        (fail(ZeroDivisionError("x")), Reason.CONNECTOR_BUG, "RuntimeError"),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), Reason.DESTINATION_UNAVAILABLE, "ended unexpectedly"),
    ],
)
def test_what_fails_in_the_process_is_told_as_if_it_had_failed_here(
    vendor: Vendor, monkeypatch: pytest.MonkeyPatch, failure: Any, reason: Reason, says: str
) -> None:
    monkeypatch.setattr("towline_connectors.engine.writer.MAX_RECORDS", 5)
    serve_users(vendor, people(40))
    result = run(plan(spec(vendor.url, [users()])), SECRETS, Session_(failure), apart=True)
    assert result.reason is reason
    assert says in result.message


def children() -> set[int]:
    """Processes that this one started and has not waited for, zombies included."""
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def test_no_process_is_left_behind(vendor: Vendor, database: Path) -> None:
    serve_users(vendor, people(3))
    before = children()
    sync(plan(spec(vendor.url, [users()])), database, apart=True)
    assert open_sink(str(database)) is not None
    assert children() <= before
