"""Killed at each commit, stopped in between: pieces and tokens end with the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.engine.crashing import crash_and_resume
from tests.unit.engine.groups import MEMBERS, delta, memberships, serve_groups
from tests.unit.engine.plans import SECRETS, live, plan, rows, spec, sync
from tests.unit.engine.vendor import Vendor

from towline.api.conditions import Reason
from towline_connectors.engine.reading import partitions
from towline_connectors.engine.run import Progress, Stop, run
from towline_connectors.sinks import open_sink


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_commit_of_pieces_the_next_attempt_ends_with_the_same_rows(
    vendor: Vendor, tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "COMMIT_PIECES", 2)
    monkeypatch.setattr("towline_connectors.engine.writer.MAX_RECORDS", 3)
    old = {f"g{n}": [f"u{n}", "boss"] for n in range(7)}
    new = {**old, "g3": ["u3"], "g7": ["u7"]}
    manifest = spec(vendor.url, memberships())
    for left in range(1, 30):
        database = tmp_path / f"{left}.db"
        serve_groups(vendor, old)
        assert sync(plan(manifest, uid="s0", created="2025-01-01T00:00:00Z"), database).reason is Reason.COMPLETED
        serve_groups(vendor, new)
        died = crash_and_resume(lambda attempt: plan(manifest, attempt=attempt), database, left, after)
        wanted = sorted(f"{group}/{member}" for group, members in new.items() for member in members)
        assert [key for (key,) in rows(database, MEMBERS)] == wanted, f"killed at commit {left}"
        if not died:
            break
    else:
        raise AssertionError("the run never came to its end")
    assert left > 4


@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_commit_of_changes_the_token_is_not_passed_over(
    vendor: Vendor, tmp_path: Path, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("towline_connectors.engine.writer.MAX_RECORDS", 2)
    manifest = spec(vendor.url, [delta()])
    vendor.json("/users", {"items": [{"id": f"u{n}"} for n in range(4)], "@odata.deltaLink": f"{vendor.url}/delta"})
    changes: list[dict[str, Any]] = [{"id": f"n{n}"} for n in range(4)]
    vendor.json("/delta", {"items": changes, "@odata.nextLink": f"{vendor.url}/delta2"})
    gone = [{"id": f"u{n}", "@removed": {"reason": "deleted"}} for n in range(3)]
    vendor.json("/delta2", {"items": gone, "@odata.deltaLink": f"{vendor.url}/delta3"})
    vendor.json("/delta3", {"items": [], "@odata.deltaLink": f"{vendor.url}/delta3"})
    for left in range(1, 12):
        database = tmp_path / f"{left}.db"
        assert sync(plan(manifest, uid="s0", created="2025-01-01T00:00:00Z"), database).reason is Reason.COMPLETED
        died = crash_and_resume(lambda attempt: plan(manifest, attempt=attempt), database, left, after)
        assert live(database) == ["n0", "n1", "n2", "n3", "u3"], f"killed at commit {left}"
        if not died:
            break
    else:
        raise AssertionError("the run never came to its end")
    assert left > 2


def test_a_run_that_is_stopped_among_pieces_ends_at_once_and_the_next_goes_on(
    vendor: Vendor, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "COMMIT_PIECES", 2)
    serve_groups(vendor, {f"g{n:02}": [f"u{n}"] for n in range(60)})
    stop = Stop()

    def watch(progress: Progress) -> None:
        if progress.read >= 10:
            stop.request()

    manifest = spec(vendor.url, memberships())
    result = run(plan(manifest), SECRETS, open_sink(str(database)), pod_uid="pod-1", progress=watch, stop=stop)
    assert result.reason is Reason.DISRUPTED
    assert 10 <= len(rows(database, MEMBERS)) < 60
    assert sync(plan(manifest, attempt=2), database).reason is Reason.COMPLETED
    assert len(rows(database, MEMBERS)) == 60
