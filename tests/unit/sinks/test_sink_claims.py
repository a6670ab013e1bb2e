"""One attempt at a time writes; a newer one takes over and the old one is refused at its next commit."""

from __future__ import annotations

import pytest
from tests.unit.sinks.sinkdata import live, open_session, row, rows_of

from towline_connectors.sinks.base import Batch, SinkError, StreamState, Superseded, Written


def batch(key: str, seq: int = 1) -> Batch:
    return Batch("assets", seq, rows={"asset": [row("asset", key)]}, state=StreamState(cursor=key))


@pytest.mark.parametrize(
    ("uid", "attempt", "pod", "created"),
    [
        ("sync-1", 2, "pod-2", "2026-11-01T10:00:00Z"),
        ("sync-1", 1, "pod-2", "2026-11-01T10:00:00Z"),
        ("sync-0", 1, "pod-2", "2026-11-01T10:00:01Z"),
        ("sync-0", 1, "pod-2", "2026-11-01T11:00:01.5+01:00"),
        ("sync-2", 1, "pod-2", "2026-11-01T10:00:00Z"),
    ],
    ids=["later attempt", "other pod", "later SyncJob", "later in another zone", "same second, greater uid"],
)
def test_a_newer_attempt_takes_over(target: str, uid: str, attempt: int, pod: str, created: str) -> None:
    old = open_session(target)
    old.commit(batch("before"))
    new = open_session(target, uid=uid, attempt=attempt, pod=pod, created=created)
    with pytest.raises(Superseded, match=r"sync-1-name attempt 1 stops writing to team/scanner: .* took over"):
        old.commit(batch("late", 2))
    with pytest.raises(Superseded):
        old.finish_scan("assets", ["asset"], "scan", StreamState(), None)
    assert new.commit(batch("after")) == Written(1)
    assert live(target, "asset") == {"before", "after"}
    assert new.states()["assets"].cursor == "after"


@pytest.mark.parametrize(
    ("uid", "attempt", "created"),
    [
        ("sync-1", 1, "2026-11-01T10:00:00Z"),
        ("sync-2", 9, "2026-11-01T09:59:59Z"),
        ("sync-0", 9, "2026-11-01T10:00:00Z"),
    ],
    ids=["earlier attempt", "earlier SyncJob", "same second, smaller uid"],
)
def test_an_older_attempt_is_refused_and_disturbs_nothing(target: str, uid: str, attempt: int, created: str) -> None:
    current = open_session(target, attempt=2)
    with pytest.raises(Superseded, match="attempt 2, which is newer, holds team/scanner") as refused:
        open_session(target, uid=uid, attempt=attempt, pod="pod-9", created=created)
    assert not refused.value.transient
    assert current.commit(batch("a")) == Written(1)


def test_a_superseded_attempt_can_still_record_how_it_ended(target: str) -> None:
    from towline.api.conditions import Reason
    from towline.contract import RunResult

    old = open_session(target)
    open_session(target, attempt=2, pod="pod-2")
    old.finish(RunResult(sync_uid="sync-1", attempt=1, pod_uid="pod-1", reason=Reason.SUPERSEDED))
    reasons = {one["attempt"]: one["reason"] for one in rows_of(target, "towline_runs")}
    assert reasons == {1: "Superseded", 2: None}


def test_integrations_are_claimed_one_by_one(target: str) -> None:
    one = open_session(target, integration="team/one")
    other = open_session(target, uid="sync-2", created="2026-11-02T10:00:00Z", integration="team/other")
    assert one.commit(batch("a")) == other.commit(batch("a")) == Written(1)


def test_a_time_that_is_none_is_an_error_of_the_plan(target: str) -> None:
    with pytest.raises(SinkError, match=r"sync\.created is 'yesterday'"):
        open_session(target, created="yesterday")
