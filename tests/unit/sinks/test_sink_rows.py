"""What becomes of rows: all destinations, the same behaviour."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.sinks.sinkdata import INTEGRATION, by_key, live, open_session, row, rows_of

from towline.api.conditions import Reason
from towline.contract import RunResult, StreamResult
from towline_connectors.sinks.base import Batch, DeleteGuard, Replacement, StreamState, Written
from towline_connectors.sinks.records import KEPT_REJECTED
from towline_connectors.sinks.session import MAX_KEY_LENGTH

KINDS = ("sqlite", "postgresql", "parquet")


def assets(*keys: str, seq: int = 1, scan: str | None = None, **fields: object) -> Batch:
    return Batch("assets", seq, rows={"asset": [row("asset", key, scan=scan, **fields) for key in keys]})


def test_values_of_every_type_arrive_as_they_were_given(target: str) -> None:
    session = open_session(target)
    given = {
        "hostname": "web-1",
        "ip": ["10.0.0.1", "fe80::1"],
        "type_id": 1,
        "risk_score": 7.5,
        "is_managed": False,
        "owner_key": "u1",
        "boot_time": "2026-10-31T23:59:59.123Z",
        "ext": {"rack": [1, "a\\b\tc\nd", None], "größe": 2.5},
        "description": "tab\t, quote ' \" and backslash \\ and {braces}",
    }
    raw = {"id": "a", "nested": {"text": 'with "quotes"\n'}}
    session.commit(Batch("assets", 1, rows={"asset": [row("asset", "a", raw=raw, **given), row("asset", "empty")]}))
    stored = by_key(target, "asset")
    assert {name: stored["a"][name] for name in given} == given
    assert stored["a"]["raw"] == raw
    assert (stored["a"]["integration"], stored["a"]["stream"]) == (INTEGRATION, "assets")
    assert stored["empty"]["hostname"] is None
    assert stored["empty"]["raw"] is None


def test_the_same_object_has_the_same_uid_in_every_destination(target: str) -> None:
    open_session(target).commit(assets("a", "b"))
    assert {key: one["uid"] for key, one in by_key(target, "asset").items()} == {
        "a": "a819836278e016e5279680bd451169f4",
        "b": "afd73ca4f363faa12638fde6e56f1ac0",
    }


def test_only_new_and_changed_rows_are_counted(target: str) -> None:
    session = open_session(target)
    assert session.commit(assets("a", "b", hostname="one")) == Written(2)
    assert session.commit(assets("a", "b", "c", seq=2, hostname="one")) == Written(1)
    again = open_session(target, uid="sync-2", created="2026-11-02T10:00:00Z")
    assert again.commit(assets("a", "b", "c", hostname="one")) == Written(0)
    changes = Batch("assets", 2, rows={"asset": [row("asset", "a", hostname="two"), row("asset", "d")]})
    assert again.commit(changes) == Written(2)
    assert {key: one["hostname"] for key, one in by_key(target, "asset").items()} == {
        "a": "two",
        "b": "one",
        "c": "one",
        "d": None,
    }


def test_a_row_that_did_not_change_keeps_its_modified_time_and_moves_its_last_seen_time(target: str) -> None:
    open_session(target).commit(assets("a", "b", hostname="one"))
    first = by_key(target, "asset")
    second = open_session(target, uid="sync-2", created="2026-11-02T10:00:00Z")
    second.commit(Batch("assets", 1, rows={"asset": [row("asset", "a", hostname="one"), row("asset", "b")]}))
    after = by_key(target, "asset")
    assert after["a"]["modified_time"] == first["a"]["modified_time"]
    assert after["a"]["last_seen_time"] > first["a"]["last_seen_time"]
    assert after["b"]["modified_time"] > first["b"]["modified_time"]
    assert after["b"]["hostname"] is None
    for key in ("a", "b"):
        assert after[key]["first_seen_time"] == first[key]["first_seen_time"]
        assert after[key]["run_id"] == "sync-2"


def test_the_record_of_a_row_stays_fresh_even_when_no_mapped_field_changed(target: str) -> None:
    open_session(target).commit(Batch("assets", 1, rows={"asset": [row("asset", "a", raw={"v": 1})]}))
    session = open_session(target, uid="sync-2", created="2026-11-02T10:00:00Z")
    assert session.commit(Batch("assets", 1, rows={"asset": [row("asset", "a", raw={"v": 2})]})) == Written(0)
    assert by_key(target, "asset")["a"]["raw"] == {"v": 2}


@pytest.mark.parametrize(
    ("old", "new", "wins"),
    [
        ("2026-11-01T10:00:00.000Z", "2026-11-01T09:00:00.000Z", False),
        ("2026-11-01T10:00:00.000Z", "2026-11-01T10:00:00.000Z", True),
        ("2026-11-01T10:00:00.000Z", "2026-11-01T10:00:00Z", True),
        ("2026-11-01T10:00:00Z", "2026-11-01T10:00:00.500Z", True),
        ("2026-11-01T10:00:00.000Z", None, True),
        (None, "2026-11-01T09:00:00.000Z", True),
    ],
)
def test_an_older_version_of_an_object_never_overwrites_a_newer_one(
    target: str, old: str | None, new: str | None, wins: bool
) -> None:
    session = open_session(target)
    session.commit(Batch("assets", 1, rows={"asset": [row("asset", "a", source_time=old, hostname="old")]}))
    batch = Batch("assets", 2, rows={"asset": [row("asset", "a", source_time=new, hostname="new")]})
    assert session.commit(batch) == Written(int(wins))
    assert by_key(target, "asset")["a"]["hostname"] == ("new" if wins else "old")


def test_of_two_versions_in_one_batch_the_newer_is_kept(target: str) -> None:
    newer = row("asset", "a", source_time="2026-11-01T10:00:00.000Z", hostname="newer")
    older = row("asset", "a", source_time="2026-11-01T09:00:00.000Z", hostname="older")
    last = row("asset", "b", hostname="last")
    rows = [newer, older, row("asset", "b", hostname="first"), last]
    assert open_session(target).commit(Batch("assets", 1, rows={"asset": rows})) == Written(2)
    assert {key: one["hostname"] for key, one in by_key(target, "asset").items()} == {"a": "newer", "b": "last"}


def test_a_tombstone_marks_a_row_and_a_later_row_revives_it(target: str) -> None:
    session = open_session(target)
    session.commit(assets("a", "b"))
    assert session.commit(Batch("assets", 2, tombstones={"asset": ["a", "never-seen"]})) == Written(0, 1)
    assert live(target, "asset") == {"b"}
    assert session.commit(Batch("assets", 3, tombstones={"asset": ["a"]})) == Written(0, 0)
    assert session.commit(assets("a", seq=4)) == Written(1, 0)
    assert live(target, "asset") == {"a", "b"}


def test_an_older_version_does_not_revive_a_deleted_row(target: str) -> None:
    session = open_session(target)
    new = row("asset", "a", source_time="2026-11-01T10:00:00.000Z")
    session.commit(Batch("assets", 1, rows={"asset": [new]}))
    session.commit(Batch("assets", 2, tombstones={"asset": ["a"]}))
    old = row("asset", "a", source_time="2026-11-01T09:00:00.000Z")
    assert session.commit(Batch("assets", 3, rows={"asset": [old]})) == Written(0)
    assert live(target, "asset") == set()


def test_a_replacement_leaves_a_group_with_the_members_named_and_no_others(target: str) -> None:
    def member(group: str, name: str) -> tuple[object, ...]:
        return row("membership", f"{group}/{name}", group_key=group, member_key=name)

    session = open_session(target)
    session.commit(Batch("groups", 1, rows={"membership": [member("g1", "a"), member("g1", "b"), member("g2", "a")]}))
    batch = Batch(
        "groups",
        2,
        rows={"membership": [member("g1", "b"), member("g1", "c")]},
        replacements=[Replacement("membership", "group", "g1", ["g1/b", "g1/c"])],
    )
    assert session.commit(batch) == Written(1, 1)
    assert live(target, "membership") == {"g1/b", "g1/c", "g2/a"}
    emptied = Batch("groups", 3, replacements=[Replacement("membership", "group", "g2", [])])
    assert session.commit(emptied) == Written(0, 1)
    assert live(target, "membership") == {"g1/b", "g1/c"}


def test_of_two_replacements_of_a_group_in_one_batch_the_later_counts(target: str) -> None:
    session = open_session(target)
    members = [row("membership", f"g1/{name}", group_key="g1", member_key=name) for name in ("old", "new")]
    of_group = [Replacement("membership", "group", "g1", [key]) for key in ("g1/old", "g1/new")]
    session.commit(Batch("groups", 1, rows={"membership": members}, replacements=of_group))
    assert live(target, "membership") == {"g1/new"}


def test_other_integrations_are_left_alone(target: str) -> None:
    mine = open_session(target)
    other = open_session(target, uid="sync-9", integration="other/one")
    mine.commit(assets("a", hostname="mine"))
    other.commit(assets("a", "b", hostname="theirs"))
    mine.commit(Batch("assets", 2, tombstones={"asset": ["a", "b"]}))
    mine.finish_scan("assets", ["asset"], "scan", StreamState(), None)
    left = {(one["integration"], one["source_key"]) for one in rows_of(target, "asset") if one["deleted_time"] is None}
    assert left == {("other/one", "a"), ("other/one", "b")}


class TestScan:
    def test_rows_that_a_complete_scan_did_not_show_are_deleted_with_its_state(self, target: str) -> None:
        session = open_session(target)
        session.commit(assets("a", "b", "c"))
        session.commit(Batch("other", 1, rows={"asset": [row("asset", "of-another-stream")]}))
        session.commit(assets("a", "b", seq=2, scan="scan-1"))
        state = StreamState(cursor="7", last_full_time="2026-11-01T10:00:00Z")
        assert session.finish_scan("assets", ["asset"], "scan-1", state, None) == Written(0, 1)
        assert live(target, "asset") == {"a", "b", "of-another-stream"}
        assert session.states()["assets"].last_full_time == "2026-11-01T10:00:00Z"

    def test_a_scan_of_a_second_attempt_counts_what_the_first_had_seen(self, target: str) -> None:
        session = open_session(target)
        session.commit(assets("a", "b", "c"))
        session.commit(assets("a", seq=2, scan="scan-1"))
        resumed = open_session(target, attempt=2)
        resumed.commit(assets("b", scan="scan-1"))
        assert resumed.finish_scan("assets", ["asset"], "scan-1", StreamState(), 50) == Written(0, 1)
        assert live(target, "asset") == {"a", "b"}

    def test_the_guard_stops_a_scan_that_would_delete_too_much(self, target: str) -> None:
        session = open_session(target)
        session.commit(assets(*(f"a{number}" for number in range(10))))
        session.commit(assets(*(f"a{number}" for number in range(7)), seq=2, scan="scan-1"))
        before = session.states()
        with pytest.raises(DeleteGuard, match=r"3 of 10 assets \(30\.0 %\).*20 %.*nothing was deleted") as raised:
            session.finish_scan("assets", ["asset"], "scan-1", StreamState(cursor="new"), 20)
        assert (raised.value.percent, raised.value.limit) == (30.0, 20)
        assert len(live(target, "asset")) == 10
        assert session.states() == before
        assert session.finish_scan("assets", ["asset"], "scan-1", StreamState(), 30) == Written(0, 3)

    def test_a_scan_of_nothing_passes_any_guard(self, target: str) -> None:
        assert open_session(target).finish_scan("assets", ["asset"], "scan-1", StreamState(), 0) == Written()


def test_a_batch_that_was_committed_already_is_a_no_op_with_the_same_figures(target: str) -> None:
    session = open_session(target)
    batch = Batch("assets", 5, rows={"asset": [row("asset", "a")]}, state=StreamState(cursor="5"))
    assert session.commit(batch) == Written(1)
    assert session.commit(batch) == Written(1)
    late = Batch("assets", 4, rows={"asset": [row("asset", "b")]}, state=StreamState(cursor="4"))
    session.commit(late)
    assert live(target, "asset") == {"a"}
    assert session.states()["assets"].cursor == "5"


def test_batch_numbers_count_within_a_session_and_a_stream(target: str) -> None:
    open_session(target).commit(assets("a", seq=9))
    session = open_session(target)  # the same attempt and pod, started anew
    assert session.commit(assets("b", seq=1)) == Written(1)
    assert session.commit(Batch("other", 1, rows={"asset": [row("asset", "c")]})) == Written(1)


def test_state_comes_back_as_it_was_committed(target: str) -> None:
    session = open_session(target)
    job = {"id": "x", "done": [1, 2], "full": False}
    state = StreamState("2026", job, "2026-11-01T10:00:00Z", "sync-1", "scan-1")
    session.commit(Batch("assets", 1, state=state))
    session.commit(assets("a", seq=2))
    assert open_session(target, attempt=2).states() == {"assets": state}


def test_a_batch_that_fails_leaves_nothing_behind(target: str) -> None:
    session = open_session(target)
    batch = assets("a")
    batch.rows["asset"].append(row("asset", "b"))
    batch.rows["no-such-entity"] = [("k",)]
    batch.state = StreamState(cursor="1")
    with pytest.raises(KeyError, match="there is no entity no-such-entity"):
        session.commit(batch)
    assert session.states() == {}
    assert rows_of(target, "asset") == []
    assert session.commit(assets("a")) == Written(1)


def test_rejected_records_are_kept_but_not_without_bound(target: str) -> None:
    session = open_session(target)
    many = [(f"k{number}", "port: 'x' is no number", b'{"port":"x"}') for number in range(KEPT_REJECTED)]
    session.commit(Batch("assets", 1, rejected=many))
    session.commit(Batch("assets", 2, rejected=[(None, "no key", b"\xff\x00{}")]))
    kept = sorted(rows_of(target, "towline_rejected"), key=lambda one: one["id"])
    assert len(kept) == KEPT_REJECTED
    assert kept[0]["source_key"] == "k1"
    assert (kept[-1]["source_key"], kept[-1]["reason"]) == (None, "no key")


def test_a_key_too_long_for_an_index_is_rejected_and_the_rest_is_written(target: str) -> None:
    session = open_session(target)
    assert session.commit(assets("ä" * MAX_KEY_LENGTH, "x" * (MAX_KEY_LENGTH + 1))) == Written(1, 0, 1)
    assert len(rows_of(target, "asset")) == 1
    assert "longer than 600" in rows_of(target, "towline_rejected")[0]["reason"]


def test_text_that_a_database_cannot_hold_is_mended(target: str) -> None:
    session = open_session(target)
    bad = row("asset", "k\0", hostname="nul\0half\ud800", ip=["1\0"], ext={"a\0": ["\0"]}, raw={"a": "\0"})
    assert session.commit(Batch("assets", 1, rows={"asset": [bad, row("asset", "good")]})) == Written(2)
    stored = by_key(target, "asset")
    assert len(stored) == 2
    assert "good" in stored


def test_a_run_is_recorded_from_its_start_with_its_end(target: str) -> None:
    session = open_session(target)
    assert rows_of(target, "towline_runs")[0]["finished_time"] is None
    streams = [StreamResult(name="assets", read=7, upserted=3, deleted=1, rejected=2), StreamResult(name="b", read=1)]
    result = RunResult(
        sync_uid="sync-1",
        attempt=1,
        pod_uid="pod-1",
        reason=Reason.COMPLETED,
        message="Read 8.",
        streams=streams,
        http={"2xx": 3},
    )
    session.finish(result)
    (run,) = rows_of(target, "towline_runs")
    assert (run["reason"], run["read"], run["upserted"], run["deleted"], run["rejected"]) == ("Completed", 8, 3, 1, 2)
    assert run["http"] == {"2xx": 3}
    assert [stream["name"] for stream in run["streams"]] == ["assets", "b"]
    finished = datetime.fromisoformat(run["finished_time"])
    assert abs(datetime.now(UTC) - finished) < timedelta(minutes=5)


def test_large_batches_of_any_size_are_written_whole(target: str) -> None:
    session = open_session(target)
    for seq, count in enumerate((1, 4, 49, 556, 1777), 1):
        keys = [f"{seq}-{number}" for number in range(count)]
        assert session.commit(assets(*keys, seq=seq, hostname="h")) == Written(count)
    assert len(rows_of(target, "asset")) == 1 + 4 + 49 + 556 + 1777
