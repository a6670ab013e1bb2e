"""Ends of syncs between a pod that could not record itself and the record: none lost, none twice, whoever dies when."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.unit.core.build import NOW, sync

from towline.api.conditions import ConditionType
from towline.api.integrationstatus import SyncEnds
from towline.contract import Activity
from towline.controller.perform import poisoned
from towline.core import ends, times
from towline.core.ends import MAX_STREAKS
from towline.core.runs import Run, run_of

KEPT = 3


def ended(number: int, activity: str = "Nothing", reason: str = "DestinationUnavailable", **more: Any) -> Run:
    """The end of a sync, one a minute."""
    start = NOW + timedelta(minutes=number)
    run = replace(
        run_of(sync()),
        name=f"acme-prod-{number}",
        uid=f"s-{number}",
        version=number,
        owner_uid="i-1",
        created=start,
        start=start,
        completed=start + timedelta(seconds=30),
        started=True,
        attempts=1,
        status="False",
        reason=reason,
        message="no answer",
        activity=activity,
    )
    return replace(run, **more)


def let_go(runs: list[Run], gone: Iterable[Run], before: SyncEnds | None = None) -> SyncEnds | None:
    """Prune until all of `gone` are gone."""
    left, going = list(runs), list(gone)
    while True:
        found = ends.prune(before, left, [run for run in going if run in left])
        before = found.status
        if not found.gone:
            return before
        left = [run for run in left if run not in found.gone]


def counts(status: SyncEnds | None) -> list[tuple[str, int]]:
    return [(one.outcome, one.count) for one in (status.unrecorded or [] if status else [])]


def test_syncs_of_a_long_outage_are_one_record_with_their_number() -> None:
    runs = [ended(number) for number in range(50)]
    status = let_go(runs, runs[:-KEPT])
    (record,) = ends.records(status, "prod")
    assert (record.object, record.outcome, record.detail["count"]) == (
        "Integration/prod", "DestinationUnavailable", 50 - KEPT,
    )  # fmt: skip
    assert (record.time, record.finished) == (
        times.text(NOW), times.text(NOW + timedelta(minutes=49 - KEPT, seconds=30)),
    )  # fmt: skip
    assert len(status.model_dump_json() if status else "") < 600, "whatever the length of the outage"


def test_another_outcome_is_a_record_of_its_own() -> None:
    runs = [ended(0), ended(1), ended(2, reason="OutOfMemory"), ended(3), ended(4, trigger="Schedule"),
            ended(5, trigger="Schedule", actor="anna")]  # fmt: skip
    assert counts(let_go(runs, runs)) == [
        ("DestinationUnavailable", 2), ("OutOfMemory", 1), ("DestinationUnavailable", 1), ("DestinationUnavailable", 1),
        ("DestinationUnavailable", 1),
    ]  # fmt: skip


def test_a_single_sync_has_the_id_that_its_own_pod_would_have_used() -> None:
    status = let_go([ended(0)], [ended(0)])
    (record,) = ends.records(status, "prod")
    assert (record.id, record.object) == ("run/s-0/1", "SyncJob/acme-prod-0")


def test_what_a_pod_has_recorded_itself_leaves_nothing_behind() -> None:
    done = {"status": "True", "reason": "Completed"}
    runs = [ended(0, "Before", **done), ended(1, "Unknown", **done)]
    assert let_go(runs, runs) is None
    check = ended(2, mode="Check", **done)
    assert counts(let_go([check], [check])) == [("Completed", 1)], "one of mode Check stores nothing"


def test_a_pod_that_died_without_a_word_keeps_a_record_of_its_own() -> None:
    """It may have recorded itself, and what its plan told of the time before."""
    runs = [ended(0), ended(1, "Unknown", reason="OutOfMemory"), ended(2, "Unknown", reason="OutOfMemory"), ended(3)]
    status = let_go(runs, runs)
    assert counts(status) == [
        ("DestinationUnavailable", 1), ("OutOfMemory", 1), ("OutOfMemory", 1), ("DestinationUnavailable", 1),
    ]  # fmt: skip
    assert len({record.id for record in ends.records(status, "prod")}) == 4


def test_a_sync_that_recorded_what_was_before_it_lets_the_status_forget() -> None:
    runs = [ended(number) for number in range(5)]
    status = let_go(runs, runs[:3])
    until = runs[-1].completed
    told = ended(6, "Before", reason="CredentialsRejected", ends_until=until)
    found = ends.prune(status, [*runs[3:], told], [])
    assert counts(found.status) == []
    assert ends.recorded_until(found.status, []) == until, "also when the SyncJob that says so is gone"
    assert all(ends.recorded(run, until) for run in runs)


def test_a_crash_between_the_status_and_the_removal_counts_nothing_twice() -> None:
    runs = [ended(number) for number in range(6)]
    first = ends.prune(None, runs, runs[:3])
    assert counts(first.status) == [("DestinationUnavailable", 1)]
    assert ends.covered(first.status) == "s-0"
    again = ends.prune(first.status, runs, runs[:3])
    assert again.status == first.status
    assert [run.uid for run in again.gone] == ["s-0"]


def test_the_oldest_goes_and_is_counted_where_outcomes_keep_changing() -> None:
    runs = [ended(number, reason=f"Reason{number}") for number in range(MAX_STREAKS + 7)]
    status = let_go(runs, runs)
    assert status is not None
    assert status.dropped == 7
    assert counts(status)[0] == ("Reason7", 1)


def test_a_plan_takes_the_oldest_ends_and_says_how_far_they_go() -> None:
    status = let_go([ended(0)], [ended(0)])
    many = [one.model_copy(update={"id": str(n), "finished": times.text(NOW + timedelta(minutes=n))})
            for one in ends.records(status, "prod") for n in range(10)]  # fmt: skip
    later = NOW + timedelta(hours=1)
    chosen, until = ends.told(many, 4, later)
    assert ([one.id for one in chosen], until) == (["0", "1", "2", "3"], times.text(NOW + timedelta(minutes=3)))
    same = [one.model_copy(update={"finished": times.text(NOW)}) for one in many]
    assert ends.told(same, 4, later)[1] == "", "others of that second are not told yet"
    assert ends.told(many, 40, NOW + timedelta(minutes=9))[1] == times.text(NOW + timedelta(minutes=8))


@pytest.mark.parametrize("until", ["someday", ""])
def test_an_entry_that_somebody_wrote_by_hand_harms_nobody(until: str) -> None:
    odd = SyncEnds.model_construct(unrecorded=[_streak(until), _streak("2026-11-21T09:00:00+02:00")])
    (record,) = ends.records(odd, "prod")
    assert record.finished == "2026-11-21T07:00:00Z"
    assert len((ends.prune(odd, [], []).status or SyncEnds()).unrecorded or []) == 1


def _streak(until: str) -> Any:
    status = let_go([ended(0)], [ended(0)])
    assert status is not None
    assert status.unrecorded
    return status.unrecorded[0].model_copy(update={"until": until, "since": until})


@dataclass
class World:
    """Objects of an API server, a destination that records each id once, and what really happened."""

    number: int = 0
    runs: list[Run] = field(default_factory=list)
    status: SyncEnds | None = None
    table: dict[str, Activity] = field(default_factory=dict)
    plan: list[Activity] = field(default_factory=list)
    until: str = ""

    def plan_now(self, now: datetime) -> None:
        """As controller.snapshots does it."""
        until = ends.recorded_until(self.status, self.runs)
        entries = ends.records(self.status, "prod")
        for run in self.runs:
            if run.uid != ends.covered(self.status) and not ends.recorded(run, until):
                entries.append(own(run))
        self.plan, self.until = ends.told(entries, 30, now)

    def sync(self, said: str, wrote: str) -> None:
        """One sync: what its pod says of the record, and what it really wrote there."""
        self.number += 1
        reason = "DestinationUnavailable" if self.number % 5 else "ResultLost"
        run = ended(self.number, "Before" if said == "End" else said, reason)
        if said == "End":
            run = replace(run, status="True", reason="Completed")
        self.plan_now(run.start or NOW)
        if wrote != "Nothing":
            for entry in self.plan:
                self.table.setdefault(entry.id, entry)
        if wrote == "End":
            self.table.setdefault(f"run/{run.uid}/1", own(run))
        if said in ("Before", "End"):
            run = replace(run, ends_until=times.moment(self.until))
        self.runs.append(run)

    def prune(self, keep: int, crash: bool, group: bool | None = None) -> None:
        """As core.integrations does it; `crash`: after the status is written. Successful ones are a
        `group` of their own."""
        mine = [run for run in self.runs if group is None or group == run.succeeded]
        found = ends.prune(self.status, self.runs, mine[: max(0, len(mine) - keep)])
        self.status = found.status
        if not crash:
            self.runs = [run for run in self.runs if run not in found.gone]

    def told(self) -> list[str]:
        """What the record has, a number for each sync where a record counts several."""
        found = []
        for entry in self.table.values():
            match = re.fullmatch(r"(runs?)/s-(\d+)/1", entry.id)
            assert match
            found += [entry.id] if match[1] == "run" else [f"{entry.id}#{n}" for n in range(entry.detail["count"])]
        return found


def own(run: Run) -> Activity:
    return Activity(
        id=f"run/{run.uid}/1", kind="Run", time=times.text(run.created), finished=times.text(run.completed or NOW),
        object=f"SyncJob/{run.name}",
    )  # fmt: skip


_POD = st.sampled_from(
    [
        ("Nothing", "Nothing"),
        ("Before", "Before"),
        ("Before", "End"),  # the connection broke while the end was committed
        ("End", "End"),
        ("Unknown", "Nothing"),
        ("Unknown", "Before"),
        ("Unknown", "End"),
    ]
)
_GROUPS = {"prune": None, "prune failed": False, "prune recorded": True}
_STEP = st.one_of(
    st.tuples(st.just("sync"), _POD),
    st.tuples(
        st.sampled_from(["prune", "prune failed", "prune recorded"]), st.tuples(st.integers(0, 3), st.booleans())
    ),
)
_AWAY = ("sync", ("Nothing", "Nothing"))
_SILENT = ("sync", ("Unknown", "Before"))
_LOST = ("sync", ("Unknown", "End"))
_PRUNE = ("prune", (0, False))


@settings(max_examples=400)
@given(st.lists(_STEP, max_size=40))
@example([_AWAY, _PRUNE, _AWAY, _SILENT, _PRUNE, _PRUNE, _PRUNE])
@example([_AWAY, _SILENT, _AWAY, _PRUNE, _PRUNE, _PRUNE])
@example([_AWAY, ("sync", ("End", "End")), ("prune", (0, True)), _PRUNE, _AWAY, _PRUNE, _PRUNE])
@example([_AWAY, ("sync", ("End", "End")), ("prune recorded", (0, False)), _PRUNE, _AWAY, _PRUNE])
@example([_AWAY, _AWAY, _PRUNE, ("prune", (0, True)), ("sync", ("Before", "Before"))])
@example([_AWAY, _PRUNE, _LOST, _PRUNE])
@example([_LOST, _PRUNE, _AWAY, _PRUNE])
@example([_AWAY, _AWAY, ("prune", (1, True)), _SILENT, ("prune", (1, False)), _PRUNE, _PRUNE])
def test_each_end_is_recorded_once_whatever_happens(steps: list[tuple[str, tuple[Any, Any]]]) -> None:
    world = World()
    for step, (one, two) in steps:
        if step == "sync":
            world.sync(one, two)
            # History limits keep an Integration's SyncJobs few.
            while len(world.runs) > 8:
                world.prune(3, crash=False)
        else:
            world.prune(one, two, _GROUPS[step])
    world.sync("End", "End")
    world.prune(3, crash=False)
    world.sync("End", "End")
    told, dropped = world.told(), (world.status.dropped or 0) if world.status else 0
    assert len(told) == len(set(told))
    assert world.number - dropped <= len(told) <= world.number
    world.prune(3, crash=False)
    assert not (world.status and world.status.unrecorded), "and nothing waits any more"


def test_an_object_that_fits_no_model_any_more_keeps_what_waits() -> None:
    status = let_go([ended(0)], [ended(0)])
    assert status
    raw = {"metadata": {"name": "prod", "generation": 2}, "spec": {}, "status": {"syncEnds": status.wire()}}
    assert poisoned(raw, ["spec: is odd"], ConditionType.READY, NOW)["syncEnds"] == status.wire()
    raw["status"] = {"syncEnds": {"unrecorded": "odd"}}
    assert "syncEnds" not in poisoned(raw, ["spec: is odd"], ConditionType.READY, NOW)
