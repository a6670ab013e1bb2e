"""Fair slots; and names, times and lists of history."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.core.build import NOW, sync

from towline.core import history, names, times
from towline.core.runs import Run, run_of, unfinished
from towline.core.slots import Limits, Request, Slots


def request(key: str, group: str = "g", priority: int = 2, namespace: str = "", connector: str = "") -> Request:
    return Request(key, group, priority, namespace, connector)


def test_no_more_run_than_the_limit_allows() -> None:
    slots = Slots(2)
    assert [slots.ask(request(key)) for key in "abc"] == [True, True, False]
    slots.release("a")
    assert slots.next_in_line() == "c"
    assert slots.ask(request("c"))
    assert slots.active == 2


def test_people_go_before_schedules() -> None:
    slots = Slots(1)
    slots.ask(request("running"))
    slots.ask(request("scheduled"))
    slots.ask(request("by-hand", priority=0))
    slots.release("running")
    assert slots.next_in_line() == "by-hand"
    assert not slots.ask(request("scheduled"))


def test_an_integration_with_many_syncs_does_not_push_others_back() -> None:
    slots = Slots(1)
    slots.ask(request("running"))
    for number in range(5):
        slots.ask(request(f"a{number}", "a"))
    slots.ask(request("b0", "b"))
    order = []
    slots.release("running")
    while (key := slots.next_in_line()) is not None:
        assert slots.ask(request(str(key), str(key)[0]))
        order.append(key)
        slots.release(key)
    assert order == ["a0", "b0", "a1", "a2", "a3", "a4"]


def test_a_full_namespace_or_connector_does_not_hold_up_the_others() -> None:
    slots = Slots(Limits(total=10, namespace=1, connector=2))
    assert slots.ask(request("a0", "a", namespace="one", connector="acme"))
    assert not slots.ask(request("a1", "a", namespace="one", connector="acme"))
    assert slots.ask(request("b0", "b", namespace="two", connector="acme")), "who waits for its namespace is passed by"
    assert not slots.ask(request("c0", "c", namespace="three", connector="acme"))
    assert slots.ask(request("d0", "d", namespace="four", connector="other"))
    first, third = slots.place("a1"), slots.place("c0")
    assert first is not None
    assert (first.position, first.waiting) == (1, 2)
    assert "maxActivePerNamespace" in first.reason
    assert third is not None
    assert (third.position, "maxActivePerConnector" in third.reason) == (2, True)
    slots.release("a0")
    assert slots.next_in_line() == "a1"
    assert slots.ask(request("a1", "a", namespace="one", connector="acme"))
    assert not slots.ask(request("c0", "c", namespace="three", connector="acme"))


def test_a_sync_by_hand_goes_before_a_thousand_scheduled_ones_and_knows_its_place() -> None:
    slots = Slots(1)
    slots.ask(request("running"))
    for number in range(1000):
        slots.ask(request(f"s{number}", f"g{number}"))
    slots.ask(request("by-hand", "g5", priority=0))
    place, last = slots.place("by-hand"), slots.place("s999")
    assert place is not None
    assert (place.position, place.waiting) == (1, 1001)
    assert "maxActive" in place.reason
    assert last is not None
    assert last.position == 1001


def test_what_already_runs_holds_its_slot_even_beyond_the_limit() -> None:
    slots = Slots(1)
    slots.hold("a")
    slots.hold("b")
    assert slots.active == 2
    assert not slots.ask(request("c"))
    slots.release("a")
    assert slots.next_in_line() is None


def test_who_stops_waiting_is_forgotten() -> None:
    slots = Slots(1)
    slots.ask(request("a"))
    slots.ask(request("b"))
    slots.release("b")
    assert slots.waiting == 0
    slots.release("a")
    assert slots.next_in_line() is None


@given(
    st.lists(st.tuples(st.sampled_from(["ask", "release", "hold"]), st.integers(0, 9), st.integers(0, 2)), max_size=60),
    st.integers(1, 4),
)
def test_slots_never_grant_beyond_the_limit_and_lose_nobody(steps: list[tuple[str, int, int]], limit: int) -> None:
    slots = Slots(limit)
    wanted: set[int] = set()
    for what, key, priority in steps:
        if what == "ask":
            before = slots.active
            if slots.ask(Request(key, key % 3, priority)):
                assert slots.active <= max(limit, before)
            wanted.add(key)
        elif what == "release":
            slots.release(key)
            wanted.discard(key)
        else:
            slots.hold(key)
            wanted.add(key)
    assert slots.active + slots.waiting == len(wanted)
    for _ in range(50):
        for key in [key for key in wanted if slots.holds(key)]:
            slots.release(key)
            wanted.discard(key)
        following = slots.next_in_line()
        if following is None:
            break
        assert slots.ask(Request(following, 0, 0))
    assert not wanted, "someone waited for ever"


def finished(number: int, succeeded: bool = True, owner: str = "i-1", tick: datetime | None = None) -> Run:
    status: dict[str, Any] = {
        "attempts": 1,
        "completionTime": times.text(NOW + timedelta(minutes=number)),
        "conditions": [
            {
                "type": "Succeeded",
                "status": "True" if succeeded else "False",
                "reason": "Completed" if succeeded else "Unreachable",
                "message": "",
                "lastTransitionTime": times.text(NOW),
            }
        ],
    }
    made = sync(status, name=f"run-{number:02}")
    if tick is not None:
        made.spec.__dict__["scheduled_time"] = times.text(tick)
    made.metadata["ownerReferences"] = [{"controller": True, "uid": owner}]
    return run_of(made)


def test_each_kind_has_its_own_limit() -> None:
    runs = [finished(number, succeeded=number % 3 != 0) for number in range(9)]
    gone = history.surplus(runs, "i-1", keep_successful=2, keep_failed=1, last_schedule=None)
    assert [run.name for run in gone] == ["run-00", "run-01", "run-02", "run-03", "run-04", "run-05"]
    assert history.newest_failed(runs) == "run-06"


def test_a_run_that_still_locks_its_tick_stays() -> None:
    last = NOW - timedelta(hours=1)
    runs = [finished(number, tick=last + timedelta(minutes=number - 1)) for number in range(3)]
    assert [run.name for run in history.surplus(runs, "i-1", 0, 0, last)] == ["run-00"]
    assert history.surplus(runs, "i-1", 0, 0, None) == []


def test_runs_of_others_stay() -> None:
    assert history.surplus([finished(1, owner="someone")], "i-1", 0, 0, None) == []


def test_started_runs_go_before_older_ones_that_wait() -> None:
    waiting = run_of(sync(name="a"))
    started = run_of(sync({"startTime": times.text(NOW)}, name="b"))
    assert [run.name for run in unfinished([waiting, started])] == ["b", "a"]


def test_names_are_made_of_what_makes_them_unique() -> None:
    tick = datetime(2026, 11, 21, 9, 32, 22, tzinfo=UTC)
    assert names.scheduled("falcon-prod", tick) == "falcon-prod-20261121t093222z"
    assert names.requested("x", "one") == names.requested("x", "one") != names.requested("x", "two")
    assert len(names.requested("i" * 40, "token")) <= names.MAX_SYNC_NAME


def test_lengths_of_time_are_readable() -> None:
    assert [times.span(seconds) for seconds in (5, 130, 7300, 400000)] == ["5 s", "2 min", "2 h 1 min", "4 d"]


@given(st.datetimes(datetime(1, 1, 1), datetime(9999, 1, 1)))
def test_moments_survive_being_written(when: datetime) -> None:
    whole = when.replace(microsecond=0, tzinfo=UTC)
    assert times.moment(times.text(whole)) == whole
    assert len(times.text(whole)) == len("2026-11-21T08:32:22Z")


@given(st.text(max_size=30))
def test_what_is_no_moment_is_none(text: str) -> None:
    assert times.moment(text) is None or isinstance(times.moment(text), datetime)
