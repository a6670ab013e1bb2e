"""A record of activity as a line of a table."""

from __future__ import annotations

from typing import Any

from towline.cli.activity import _row


def record(**fields: Any) -> dict[str, Any]:
    empty = dict.fromkeys(("actor", "outcome", "message", "records", "calls", "bytes", "finished_time", "detail"))
    return {**empty, "time": "2026-11-21T08:00:00.000Z", "integration": "secops/prod", "kind": "Check",
            "object": "Integration/prod", "trigger": "Probe", **fields}  # fmt: skip


def test_checks_in_a_row_say_how_many_and_until_when() -> None:
    row = _row(record(outcome="Reachable", finished_time="2026-11-21T09:30:00.000Z", detail={"count": 18}))
    assert (row[0], row[3], row[-1]) == ("2026-11-21 08:00:00", "credentials", "18 checks until 09:30:00")
    row = _row(record(finished_time="2026-11-22T09:30:00.000Z", detail={"count": 300}, message="401"))
    assert row[-1] == "300 checks until 2026-11-22 09:30:00 401"


def test_what_the_operator_could_not_count_is_said() -> None:
    one = record(finished_time="2026-11-21T08:00:00.000Z", detail={"count": 1, "interrupted": True})
    assert _row(one)[-1] == "1 or more checks until 08:00:00"
    assert _row(record(finished_time="2026-11-21T08:00:00.000Z", detail={"count": 1}))[-1] == ""


def test_syncs_of_an_outage_are_told_as_syncs() -> None:
    many = {"detail": {"count": 47, "first": "prod-1"}, "finished_time": "2026-11-21T09:30:00.000Z"}
    one = record(kind="Run", trigger="Schedule", actor="schedule", outcome="DestinationUnavailable",
                 message="no answer", **many)  # fmt: skip
    assert _row(one)[3:6] == ["prod", "schedule (Schedule)", "DestinationUnavailable"]
    assert _row(one)[-1] == "47 syncs until 09:30:00 no answer"
