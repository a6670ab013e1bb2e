"""Checks of credentials between a probe and the record of a run: none lost, none told twice, whoever dies when."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.core.build import NOW, sync

from towline.api.conditions import Reason
from towline.api.integrationstatus import ChecksStatus
from towline.contract import Activity
from towline.core import checks, times
from towline.core.checks import MAX_STREAKS, Ledger
from towline.core.health import Probed
from towline.core.runs import run_of

GOOD, REJECTED, AWAY = Reason.REACHABLE, Reason.CREDENTIALS_REJECTED, Reason.UNREACHABLE


def probed(minute: int, reason: Reason = GOOD) -> Probed:
    return Probed(NOW + timedelta(minutes=minute), reason, "" if reason is GOOD else "401")


def after(*reasons: Reason, ledger: Ledger | None = None, start: int = 0) -> Ledger:
    found = ledger or Ledger()
    for minute, reason in enumerate(reasons, start):
        found = checks.heard(found, probed(minute, reason))
    return found


def told(ledger: Ledger) -> list[tuple[str, int]]:
    return [(one.outcome, one.detail["count"]) for one in checks.records(ledger, "prod", "u-1")]


def restarted(ledger: Ledger) -> Ledger:
    status = checks.status(ledger)
    return checks.remembered(ChecksStatus.model_validate(status) if status else None)


def test_checks_in_a_row_with_one_outcome_are_one_record_with_their_number() -> None:
    ledger = after(GOOD, GOOD, GOOD, REJECTED, GOOD, GOOD)
    assert told(ledger) == [("Reachable", 3), ("CredentialsRejected", 1), ("Reachable", 2)]
    first = checks.records(ledger, "prod", "u-1")[0]
    assert (first.id, first.time, first.finished) == (
        f"check/u-1/{times.text(NOW)}", times.text(NOW), times.text(NOW + timedelta(minutes=2)),
    )  # fmt: skip


def test_a_further_check_with_the_same_outcome_writes_nothing() -> None:
    ledger = after(GOOD, REJECTED)
    assert checks.status(after(*[REJECTED] * 50, ledger=ledger, start=2)) == checks.status(ledger)
    assert checks.status(restarted(ledger)) == checks.status(ledger), "and neither does a restart"
    again = after(*[REJECTED] * 50, ledger=restarted(ledger), start=60)
    assert checks.status(again) == checks.status(ledger)


def test_from_the_status_alone_each_outcome_is_known_that_no_run_has_recorded() -> None:
    ledger = restarted(after(GOOD, GOOD, REJECTED, AWAY, AWAY))
    ledger = after(AWAY, AWAY, ledger=ledger, start=60)
    assert told(ledger) == [("Reachable", 2), ("CredentialsRejected", 1), ("Unreachable", 1), ("Unreachable", 2)]
    flags = [one.detail.get("interrupted") for one in checks.records(ledger, "prod", "u-1")]
    assert flags == [None, None, True, None], "how many there were before the restart is in the log alone"


def test_what_a_run_has_recorded_goes_and_what_came_after_its_plan_stays() -> None:
    ledger = checks.handed_over(checks.offer(after(GOOD, REJECTED, GOOD)))
    plan = checks.records(ledger, "prod", "u-1")
    ledger = after(GOOD, GOOD, ledger=ledger, start=10)
    ledger = checks.recorded(ledger, times.moment(checks.told_until(plan)))
    assert told(ledger) == [("Reachable", 2)]
    status = checks.status(ledger)
    assert status is not None
    assert (status["recorded"], "unrecorded" in status) == (True, False)
    assert told(restarted(ledger)) == []


def test_a_plan_that_no_run_got_does_not_cut_a_streak_in_two() -> None:
    ledger = Ledger()
    for minute in range(30):
        ledger = checks.offer(after(GOOD, ledger=ledger, start=minute))
    assert told(ledger) == [("Reachable", 30)]


def test_an_integration_that_flaps_keeps_the_newest_and_counts_the_rest() -> None:
    ledger = after(*[GOOD, AWAY] * 500)
    status = checks.status(ledger)
    assert status is not None
    assert status["dropped"] == 1000 - MAX_STREAKS
    assert len(ChecksStatus.model_validate(status).unrecorded or []) == MAX_STREAKS - 1


def test_runs_that_record_nothing_push_no_outcome_out() -> None:
    ledger = after(GOOD, REJECTED, GOOD)
    for minute in range(3, 100):
        ledger = after(GOOD, ledger=checks.handed_over(checks.offer(ledger)), start=minute)
    assert [outcome for outcome, _ in told(ledger)][:3] == ["Reachable", "CredentialsRejected", "Reachable"]
    assert len(told(ledger)) == MAX_STREAKS


def test_only_a_run_that_has_ended_tells_what_is_recorded() -> None:
    told_by = {"checksRecordedUntil": "2026-11-21T08:00:00Z"}
    assert checks.recorded_until([run_of(sync(told_by))]) is None
    done = {**told_by, "completionTime": "2026-11-21T08:05:00Z"}
    assert checks.recorded_until([run_of(sync()), run_of(sync(done))]) == times.moment("2026-11-21T08:00:00Z")


def test_what_the_operator_before_wrote_last_is_not_lost() -> None:
    """The one that takes over may have read the Integration a moment before that write."""
    stale = after(GOOD)
    written = after(GOOD, GOOD, REJECTED, ledger=stale, start=1)
    mine = after(REJECTED, ledger=restarted(stale), start=10)
    both = checks.merged(mine, restarted(written))
    assert [one for one in told(both) if one[0] == "Reachable"] == [("Reachable", 3)]
    assert both.streaks[1].first == NOW + timedelta(minutes=3), "when the rejection began"
    assert both.outcome == "CredentialsRejected"


def test_a_status_that_somebody_wrote_by_hand_starts_runs_all_the_same() -> None:
    streak = {"outcome": "Reachable", "since": "0001-01-01T00:00:00Z", "until": "2026-11-21T08:00:00+02:00", "count": 7}
    with pytest.raises(ValidationError):
        ChecksStatus.model_validate({"unrecorded": [{**streak, "count": -1}]})
    odd = ChecksStatus.model_validate({"outcome": "Odd", "since": "2026-11-21T08:00:00Z", "unrecorded": [streak]})
    ledger = checks.remembered(odd)
    first = checks.records(ledger, "prod", "u-1")[0]
    assert (first.time, first.finished) == ("0001-01-01T00:00:00Z", "2026-11-21T06:00:00Z")
    assert checks.remembered(ChecksStatus.model_validate({"unrecorded": [streak]})) == Ledger(), "nothing is since when"


@dataclass
class World:
    """An operator that may die, a destination that records each id once, and what really happened."""

    minute: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    status: dict[str, Any] | None = None
    table: dict[str, Activity] = field(default_factory=dict)
    plan: list[Activity] | None = None
    until: datetime | None = None
    happened: list[tuple[str, str]] = field(default_factory=list)
    """Time and outcome of each check."""
    beginnings: list[tuple[str, str]] = field(default_factory=list)
    """Of these the first of each outcome."""
    harmed: bool = False
    """Something was lost on the way that only a number can suffer from."""

    def write(self) -> None:
        self.ledger = checks.recorded(self.ledger, self.until)
        self.status = checks.status(self.ledger)

    def do(self, step: str) -> None:
        self.minute += 1
        match step.split():
            case ["check", reason]:
                self.check(Reason(reason))
            case ["refused"]:
                self.ledger = checks.offer(self.ledger)
            case ["start"] if self.plan is None:
                self.ledger = checks.offer(self.ledger)
                self.plan = checks.records(self.ledger, "prod", "u-1")
                self.ledger = checks.handed_over(self.ledger)
            case ["orphan"] if self.plan is None:  # the Job was made, and the operator did not hear of it
                self.ledger = checks.offer(self.ledger)
                self.plan = checks.records(self.ledger, "prod", "u-1")
                self.harmed = True
            case ["adopt"] if self.plan is not None:
                self.ledger = checks.handed_over(checks.offer(self.ledger))
            case ["end", how] if self.plan is not None:
                self.end(how)
            case ["die"]:
                status = ChecksStatus.model_validate(self.status) if self.status else None
                self.ledger = checks.recorded(checks.remembered(status), self.until)
                self.harmed = True

    def check(self, reason: Reason) -> None:
        before, news = checks.status(self.ledger), self.ledger.outcome != reason
        self.ledger = checks.heard(self.ledger, probed(self.minute, reason))
        entry = (times.text(NOW + timedelta(minutes=self.minute)), str(reason))
        self.happened.append(entry)
        if news:
            self.beginnings.append(entry)
            self.write()
        else:
            assert checks.status(self.ledger) == before, "nothing to write"

    def end(self, how: str) -> None:
        assert self.plan is not None
        if how != "unrecorded":
            for one in self.plan:
                self.table.setdefault(one.id, one)
        if how == "well":
            self.until = times.moment(checks.told_until(self.plan)) or self.until
            self.write()
        else:
            self.harmed |= how == "unheard"
        self.plan = None

    def known(self) -> Iterable[Activity]:
        pending = {one.id: one for one in checks.records(self.ledger, "prod", "u-1")}
        return (pending | self.table).values()


CALM = [*[f"check {reason}" for reason in (GOOD, GOOD, GOOD, REJECTED)], "refused", "start", "end well"]
STEPS = [*CALM, *CALM, f"check {AWAY}", "orphan", "adopt", "die", "end unheard", "end unrecorded"]


@given(st.lists(st.sampled_from(CALM), min_size=5, max_size=40) | st.lists(st.sampled_from(STEPS), max_size=60))
@example(["check Reachable", "start", "die", "check Reachable", "end unheard", "start", "end well"])
@example(["check Reachable", "orphan", "check Reachable", "adopt", "check Reachable", "end well", "die"])
def test_nothing_is_lost_and_nothing_told_twice(steps: list[str]) -> None:
    world = World()
    for step in steps:
        world.do(step)
        assert checks.status(restarted(world.ledger)) == checks.status(world.ledger)
    table = sorted(world.table.values(), key=lambda one: one.time)
    for one, two in pairwise(table):
        assert str(one.finished) < two.time, "no check stands in two records"
    for one in world.known():
        inside = [outcome for at, outcome in world.happened if one.time <= at <= str(one.finished)]
        assert set(inside) == {one.outcome}, "a record says what happened"
        assert one.detail["count"] <= len(inside)
    if world.ledger.dropped:
        return
    for at, outcome in world.beginnings:
        assert any(one.time <= at <= str(one.finished) and one.outcome == outcome for one in world.known())
    if not world.harmed:
        assert sum(one.detail["count"] for one in world.known()) == len(world.happened)
