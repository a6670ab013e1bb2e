"""Cron with time zones and clock changes, intervals with a stable offset, missed ticks."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from towline.api.integration import Schedule
from towline.core.schedule import ScheduleError, due, gap, stable_offset, stale_at, timetable

START = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def first(schedule: Schedule, after: str, count: int = 3) -> list[str]:
    ticks = timetable(schedule, "uid").ticks_after(at(after))
    return [tick.strftime("%m-%d %H:%M") for tick in islice(ticks, count)]


def test_cron_counts_in_its_time_zone() -> None:
    paris = Schedule(cron="0 6 * * *", time_zone="Europe/Paris")
    assert first(paris, "2026-07-01 00:00") == ["07-01 04:00", "07-02 04:00", "07-03 04:00"]
    assert first(paris, "2026-12-01 00:00") == ["12-01 05:00", "12-02 05:00", "12-03 05:00"]


def test_a_fixed_time_that_the_clock_skips_comes_right_after_the_change() -> None:
    skipped = Schedule(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert first(skipped, "2026-03-28 12:00", 2) == ["03-29 01:00", "03-30 00:30"]


def test_a_fixed_time_that_the_clock_repeats_comes_once() -> None:
    repeated = Schedule(cron="30 2 * * *", time_zone="Europe/Berlin")
    assert first(repeated, "2026-10-24 12:00", 2) == ["10-25 00:30", "10-26 01:30"]
    assert first(repeated, "2026-10-25 00:45", 1) == ["10-26 01:30"], "not again in the second passage"


def test_every_half_hour_goes_on_through_a_clock_change() -> None:
    half_hours = Schedule(cron="*/30 * * * *", time_zone="Europe/Berlin")
    assert first(half_hours, "2026-10-25 00:10", 4) == ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"]


@pytest.mark.parametrize("alias", ["@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually"])
def test_aliases_are_understood(alias: str) -> None:
    assert timetable(Schedule(cron=alias), "uid").after(START) > START


@pytest.mark.parametrize(
    ("schedule", "reason", "words"),
    [
        (Schedule(cron="61 * * * *"), "InvalidSchedule", "minute"),
        (Schedule(cron="* * * *"), "InvalidSchedule", "five fields"),
        (Schedule(cron="0 0 31 2 *"), "InvalidSchedule", "never comes"),
        (Schedule(cron="0 0 * * *", time_zone="Europe/Pariss"), "UnknownTimeZone", "Europe/Paris"),
        (Schedule(cron="0 0 * * *", time_zone="../../etc/passwd"), "UnknownTimeZone", "IANA"),
        (Schedule(interval="30s"), "InvalidSchedule", "at least 1m"),
        (Schedule(), "InvalidSchedule", "cron or interval"),
    ],
)
def test_a_schedule_that_cannot_be_followed_is_explained(schedule: Schedule, reason: str, words: str) -> None:
    with pytest.raises(ScheduleError, match=words) as caught:
        timetable(schedule, "uid")
    assert caught.value.reason == reason


def test_the_offset_stays_the_same_and_is_told() -> None:
    one = timetable(Schedule(cron="0 * * * *", time_zone="UTC", jitter="5m"), "uid-1")
    again = timetable(Schedule(cron="0 * * * *", time_zone="UTC", jitter="5m"), "uid-1")
    assert one == again
    assert one.text == f"0 * * * * UTC +{int(one.offset.total_seconds())}s"
    assert one.after(START).minute < 5


def test_intervals_without_jitter_spread_over_the_whole_interval() -> None:
    offsets = {timetable(Schedule(interval="1h"), f"uid-{n}").offset for n in range(50)}
    assert len(offsets) > 40
    assert max(offsets) < timedelta(hours=1)


def test_nothing_is_due_before_the_planned_tick() -> None:
    table = timetable(Schedule(cron="0 * * * *"), "uid")
    found = due(table, at("2026-11-21 09:00"), START, None)
    assert (found.tick, found.missed, found.next) == (None, 0, at("2026-11-21 09:00"))


def test_without_a_plan_nothing_is_made_up_for() -> None:
    table = timetable(Schedule(cron="0 * * * *"), "uid")
    assert due(table, None, START, None).tick is None


def test_after_a_pause_the_newest_tick_runs_and_the_others_count_as_missed() -> None:
    table = timetable(Schedule(cron="0 * * * *"), "uid")
    found = due(table, at("2026-11-21 03:00"), START, None)
    assert (found.tick, found.missed, found.next) == (at("2026-11-21 08:00"), 5, at("2026-11-21 09:00"))


def test_a_tick_older_than_the_deadline_is_missed_as_well() -> None:
    table = timetable(Schedule(cron="0 * * * *"), "uid")
    found = due(table, at("2026-11-21 03:00"), START, 600)
    assert (found.tick, found.missed) == (None, 6)


def test_forty_days_of_downtime_are_counted_exactly() -> None:
    table = timetable(Schedule(cron="* * * * *"), "uid")
    found = due(table, START, START + timedelta(days=40), 60)
    assert found.tick is not None
    assert found.missed == 40 * 24 * 60


def test_a_gap_and_the_age_of_stale_data_follow_the_schedule() -> None:
    hourly = timetable(Schedule(cron="0 * * * *"), "uid")
    assert gap(hourly, START) == timedelta(hours=1)
    assert stale_at(hourly, at("2026-11-21 08:10")) == at("2026-11-21 11:00")


CRONS = st.sampled_from(
    ["*/5 * * * *", "0 * * * *", "30 2 * * *", "0 0 * * 0", "15 1,2,3 * * *", "0 12 1 * *", "@daily", "59 23 31 12 *"]
)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"])
SCHEDULES = st.one_of(
    st.builds(lambda cron, zone, jitter: Schedule(cron=cron, time_zone=zone, jitter=jitter), CRONS, ZONES,
              st.sampled_from([None, "90s", "10m"])),
    st.builds(lambda minutes: Schedule(interval=f"{minutes}m"), st.integers(1, 2000)),
)  # fmt: skip
MOMENTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))


@given(SCHEDULES, MOMENTS)
def test_ticks_only_grow_and_asking_from_any_tick_gives_the_next(schedule: Schedule, moment: datetime) -> None:
    table = timetable(schedule, "some-uid")
    ticks = list(islice(table.ticks_after(moment), 8))
    assert ticks[0] > moment
    assert ticks == sorted(set(ticks))
    for one, following in pairwise(ticks):
        assert table.after(one) == following
        assert table.after(following - timedelta(seconds=1)) == following


@given(SCHEDULES, MOMENTS, st.integers(0, 3 * 86400), st.one_of(st.none(), st.integers(1, 7200)))
def test_every_tick_either_runs_or_is_counted(
    schedule: Schedule, planned_from: datetime, away: int, deadline: int | None
) -> None:
    table = timetable(schedule, "some-uid")
    planned = table.after(planned_from)
    now = planned + timedelta(seconds=away)
    found = due(table, planned, now, deadline)
    expected = [planned]
    for tick in table.ticks_after(planned):
        if tick > now:
            break
        expected.append(tick)
    assert (found.tick is not None) + found.missed == len(expected)
    assert found.next > now
    if found.tick is not None:
        assert found.tick == expected[-1]
        assert deadline is None or (now - found.tick).total_seconds() <= deadline


@given(st.text(max_size=40), st.integers(1, 100000))
def test_offsets_lie_below_the_bound(uid: str, below: int) -> None:
    assert 0 <= stable_offset(uid, below) < below
