"""Counts of the last 24 hours, kept in the status."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.unit.core.build import NOW
from tests.unit.core.test_integrations import world

from towline.core import recent


def run_once(made: Any, number: int, succeeded: bool = True, read: int = 10) -> None:
    made.integration["metadata"]["annotations"]["towline.dev/requested-at"] = f"r{number}"
    made.settle()
    streams = [{"name": "hosts", "read": read}]
    made.finish(made.created[-1], succeeded, "Completed" if succeeded else "Unreachable", streams=streams)
    made.settle()


def test_each_run_counts_once_and_a_day_later_no_more() -> None:
    made = world(schedule=None)
    made.settle()
    for number in range(4):
        run_once(made, number, succeeded=number != 1)
        made.pass_time(hours=1)
    found = made.integration["status"]["recent"]
    assert (found["successPercent"], found["syncs"], found["recordsToday"]) == (75, 4, 40)
    assert [entry["hour"][11:13] for entry in found["hours"]] == ["08", "09", "10", "11"]
    writes = made.writes
    made.settle()
    assert made.writes == writes
    made.pass_time(hours=22)
    run_once(made, 9)
    found = made.integration["status"]["recent"]
    assert found["syncs"] == 2, "of the day before, the hours since the same time count"
    assert found["recordsToday"] == 10


def test_the_metrics_forget_what_is_older_than_a_day_without_a_write() -> None:
    hours = [{"hour": "2026-11-21T08:00:00Z", "succeeded": 3, "failed": 1, "seconds": 40}]
    assert recent.rate({"hours": hours}, NOW) == (0.75, 10.0)
    assert recent.rate({"hours": hours}, NOW + timedelta(hours=25)) == (None, None)
    assert recent.rate(None, NOW) == (None, None)
    counted = {"hours": [{"hour": f"2026-11-{day}T08:00:00Z", "read": read} for day, read in ((20, 7), (21, 5))]}
    assert recent.today(counted, NOW) == 5
    assert recent.today(counted, NOW + timedelta(days=1)) == 0
