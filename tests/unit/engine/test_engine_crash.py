"""Killed at any commit: the next attempt ends with the rows of an undisturbed run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.crashing import crash_and_resume
from tests.unit.engine.exporting import Exports
from tests.unit.engine.plans import live, plan, rows, spec, sync
from tests.unit.engine.tables import Table, changing
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason

COLUMNS = "source_key, name, email_addr, deleted_time is null"


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_commit_of_a_table_the_next_attempt_ends_with_the_same_rows(
    vendor: Vendor, tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline_connectors.engine.writer.MAX_RECORDS", 7)
    table = Table(vendor)
    table.serve()
    for n in range(33):
        table.put(f"u{n:02}", n)
    manifest = spec(vendor.url, [changing()])
    expected: list[Any] | None = None
    for left in range(1, 40):
        database = tmp_path / f"{left}.db"
        old = sync(plan(manifest, uid="s0", created="2025-01-01T00:00:00Z"), database)
        assert old.reason is Reason.COMPLETED
        gone = table.records.pop(5)
        table.put("u40", 40)
        make = lambda attempt: plan(manifest, mode="Full", attempt=attempt)  # noqa: E731
        died = crash_and_resume(make, database, left, after)
        found = rows(database, f"select {COLUMNS} from users order by 1")
        table.records = [one for one in table.records if one["id"] != "u40"]
        table.records.append(gone)
        table.records.sort(key=lambda one: (one["at"], one["id"]))
        expected = expected or found
        assert found == expected, f"killed at commit {left}"
        if not died:
            break
    else:
        raise AssertionError("the run never came to its end")
    assert expected is not None
    assert sum(alive for *_rest, alive in expected) == 33
    assert left > 4


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_commit_of_an_export_the_next_attempt_goes_on_with_the_same_job(
    exports: tuple[Exports, dict[str, Any]], tmp_path: Path, after: bool
) -> None:
    vendor, manifest = exports
    script = list(vendor.statuses)
    for left in range(1, 20):
        vendor.statuses, vendor.fetched, vendor.created = list(script), [], 0
        database = tmp_path / f"{left}.db"
        died = crash_and_resume(lambda attempt: plan(manifest, attempt=attempt), database, left, after)
        assert len(live(database)) == 30, f"killed at commit {left}"
        if 1 < left < 5 or (left == 1 and after):
            assert vendor.created == 1, f"killed at commit {left}"
        if not died:
            break
    else:
        raise AssertionError("the run never came to its end")
    assert left > 4
