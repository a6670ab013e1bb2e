"""When an Integration syncs: cron with a time zone or an interval, with an offset that stays the same.

Everything takes and returns aware datetimes in UTC; nothing here asks the clock.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from towline.api.base import seconds
from towline.api.conditions import Reason
from towline.api.integration import Schedule

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ALIASES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MAX_COUNTED = 100_000


class ScheduleError(ValueError):
    """A schedule that cannot be followed; `reason` is the condition's."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Timetable:
    """The ticks of one Integration. `every` is set for intervals, `cron` and `zone` for cron expressions."""

    text: str
    offset: timedelta
    every: timedelta | None = None
    cron: str = ""
    zone: ZoneInfo | None = None

    def after(self, moment: datetime) -> datetime:
        """The first tick later than the moment."""
        return next(self.ticks_after(moment))

    def ticks_after(self, moment: datetime) -> Iterator[datetime]:
        """All ticks later than the moment, in order, without end."""
        base = moment - self.offset
        if self.every is not None:
            tick = _EPOCH + ((base - _EPOCH) // self.every + 1) * self.every
            while True:
                yield tick + self.offset
                tick += self.every
        last = base
        for local in CronSim(self.cron, base.astimezone(self.zone)):
            tick = local.astimezone(UTC)
            if tick > last:  # in the hour that a clock change repeats, cronsim counts from its first passage
                yield tick + self.offset
                last = tick


@dataclass(frozen=True)
class Due:
    """What is to be done at a moment: the tick to run now if any, the ticks passed over, and the next one."""

    tick: datetime | None
    missed: int
    next: datetime


def timetable(schedule: Schedule, uid: str) -> Timetable:
    """The timetable of an Integration with this uid. Raises ScheduleError in words for its author."""
    jitter = seconds(schedule.jitter) if schedule.jitter else 0
    if schedule.interval is not None:
        every = seconds(schedule.interval)
        if every < 60:
            raise ScheduleError(Reason.INVALID_SCHEDULE, "schedule.interval must be at least 1m")
        offset = stable_offset(uid, jitter if schedule.jitter else every)
        text = f"every {schedule.interval} {_plus(offset)}".strip()
        return Timetable(text, timedelta(seconds=offset), every=timedelta(seconds=every))
    if schedule.cron is None:
        raise ScheduleError(Reason.INVALID_SCHEDULE, "schedule needs either cron or interval")
    zone = _zone(schedule.time_zone or "UTC")
    expression = _ALIASES.get(schedule.cron.strip(), schedule.cron)
    _check_cron(expression, schedule.cron, zone)
    offset = stable_offset(uid, jitter)
    text = f"{schedule.cron} {zone.key} {_plus(offset)}".strip()
    return Timetable(text, timedelta(seconds=offset), cron=expression, zone=zone)


def stable_offset(uid: str, below: int) -> int:
    """Seconds in [0, below), always the same for one uid."""
    if below <= 0:
        return 0
    return int.from_bytes(hashlib.sha256(uid.encode()).digest()[:8], "big") % below


def due(table: Timetable, planned: datetime | None, now: datetime, deadline: int | None) -> Due:
    """What is due now, when `planned` was the next tick the last time anyone looked.

    Of the ticks that have passed the newest runs, if it is not older than `deadline` seconds (None: however old);
    the others were missed. Without `planned` (new, just resumed, another schedule) nothing is due.
    """
    if planned is None or planned > now:
        return Due(None, 0, planned if planned is not None else table.after(now))
    newest, passed = planned, 1
    ticks = table.ticks_after(planned)
    upcoming = next(ticks)
    while upcoming <= now and passed < MAX_COUNTED:
        newest, passed = upcoming, passed + 1
        upcoming = next(ticks)
    if upcoming <= now:  # more than MAX_COUNTED: an exact count is of no use to anyone
        upcoming = table.after(now)
    if deadline is not None and now - newest > timedelta(seconds=deadline):
        return Due(None, passed, upcoming)
    return Due(newest, passed - 1, upcoming)


def gap(table: Timetable, now: datetime) -> timedelta:
    """The time between the next tick and the one after it."""
    ticks = table.ticks_after(now)
    first = next(ticks)
    return next(ticks) - first


def stale_at(table: Timetable, last_success: datetime) -> datetime:
    """When data of this age counts as stale: at the third tick after the last success."""
    ticks = table.ticks_after(last_success)
    next(ticks)
    next(ticks)
    return next(ticks)


def _plus(offset: int) -> str:
    return f"+{offset}s" if offset else ""


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(
            Reason.UNKNOWN_TIME_ZONE,
            f'schedule.timeZone: "{name}" is not a known time zone: use an IANA name such as Europe/Paris or UTC',
        ) from None


def _check_cron(expression: str, written: str, zone: ZoneInfo) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC).astimezone(zone)
    if len(expression.split()) != 5:
        raise ScheduleError(
            Reason.INVALID_SCHEDULE,
            f'schedule.cron: "{written}" has to have five fields (minute hour day month weekday)',
        )
    try:
        found = next(CronSim(expression, start), None)
    except CronSimError as error:
        field = str(error).removeprefix("Bad ")
        raise ScheduleError(
            Reason.INVALID_SCHEDULE,
            f'schedule.cron: the field {field} of "{written}" is wrong or never comes: for example "*/30 * * * *" is'
            ' every half hour and "0 6 * * 1-5" is 06:00 on working days',
        ) from None
    if found is None:
        raise ScheduleError(Reason.INVALID_SCHEDULE, f'schedule.cron: "{written}" never comes: no such day exists')
