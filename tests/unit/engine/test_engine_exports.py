"""Exports: made, read part by part, adopted, cancelled, and made anew."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from tests.unit.engine.crashing import crash_and_resume
from tests.unit.engine.exporting import Exports
from tests.unit.engine.plans import live, plan, sync
from tests.unit.engine.tables import START

from towline.api.conditions import Reason


def test_an_export_is_read_part_by_part_while_it_runs(exports: tuple[Exports, dict[str, Any]], database: Path) -> None:
    vendor, manifest = exports
    result = sync(plan(manifest), database, clock=lambda: START)
    assert result.reason is Reason.COMPLETED, result.message
    assert [part for _job, part in vendor.fetched] == [1, 2, 3]
    assert len(live(database)) == 30
    assert result.streams[0].checkpoint == "2026-01-10T00:00:00.000Z"
    assert vendor.body == {"since": 0}, "null members are left out"
    vendor.statuses = [("DONE", [])]
    sync(plan(manifest, uid="s2", created="2026-01-02T00:00:00Z"), database, clock=lambda: START + timedelta(days=1))
    assert vendor.body == {"since": int((START - timedelta(hours=1)).timestamp())}
    assert len(live(database)) == 30, "an empty export of changes deletes nothing"


def test_a_job_that_the_vendor_forgot_is_made_anew(exports: tuple[Exports, dict[str, Any]], database: Path) -> None:
    vendor, manifest = exports
    vendor.lost = {"job1"}
    assert sync(plan(manifest), database).reason is Reason.COMPLETED
    assert vendor.created == 2
    assert len(live(database)) == 30


def test_a_part_that_the_vendor_could_not_make_makes_the_job_anew(
    exports: tuple[Exports, dict[str, Any]], database: Path
) -> None:
    vendor, manifest = exports
    vendor.failed_part = 3
    assert sync(plan(manifest), database).reason is Reason.COMPLETED
    assert vendor.created == 2


def test_a_job_that_always_fails_ends_as_transient_after_bounded_tries(
    exports: tuple[Exports, dict[str, Any]], database: Path
) -> None:
    vendor, manifest = exports
    vendor.statuses = [("ERROR", [])]
    result = sync(plan(manifest), database)
    assert result.reason is Reason.UNREACHABLE
    assert vendor.created == 3


def test_an_equal_job_that_runs_already_is_adopted_and_does_not_move_the_checkpoint(
    exports: tuple[Exports, dict[str, Any]], database: Path
) -> None:
    vendor, manifest = exports
    vendor.duplicate = "job7"
    result = sync(plan(manifest), database)
    assert result.reason is Reason.COMPLETED, result.message
    assert {job for job, _part in vendor.fetched} == {"job7"}
    assert result.streams[0].checkpoint is None


def test_a_job_whose_parts_cannot_be_used_is_cancelled(exports: tuple[Exports, dict[str, Any]], database: Path) -> None:
    vendor, manifest = exports
    vendor.parts[2] = {"oops": 1}  # type: ignore[assignment]
    manifest["streams"][0]["records"] = "=items"
    assert sync(plan(manifest), database).reason is Reason.SCHEMA_MISMATCH
    assert vendor.cancelled == ["job1"]


def test_done_parts_are_not_fetched_again(exports: tuple[Exports, dict[str, Any]], database: Path) -> None:
    vendor, manifest = exports
    crash_and_resume(lambda attempt: plan(manifest, attempt=attempt), database, 4, True)
    assert [part for _job, part in vendor.fetched].count(1) == 1
