"""How the syncs of the last 24 hours went, in hourly counts that live in the status: a restart forgets none."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from towline.api.integrationstatus import HourCounts, Recent
from towline.core import times
from towline.core.runs import Run

_SPAN = timedelta(hours=24)


def add(before: Recent | None, runs: Iterable[Run]) -> tuple[HourCounts, ...]:
    """The hourly counts with these finished runs added; hours older than a day before the newest go."""
    hours = {entry.hour: entry for entry in (before.hours or [] if before else [])}
    for run in runs:
        if run.completed is None or run.mode == "Check":
            continue
        hour = times.text(run.completed.replace(minute=0, second=0, microsecond=0))
        old = hours.get(hour, HourCounts(hour=hour))
        hours[hour] = HourCounts(
            hour=hour,
            succeeded=(old.succeeded or 0) + run.succeeded,
            failed=(old.failed or 0) + (not run.succeeded),
            read=(old.read or 0) + sum(entry.read or 0 for entry in run.streams),
            seconds=(old.seconds or 0) + run.seconds,
        )
    kept = sorted(hours)[-25:]
    newest = times.moment(kept[-1]) if kept else None
    return tuple(hours[hour] for hour in kept if newest is not None and _at(hour) > newest - _SPAN)


def status(hours: tuple[HourCounts, ...]) -> dict[str, Any] | None:
    """What the status says; None before the first sync has ended."""
    if not hours:
        return None
    succeeded = sum(entry.succeeded or 0 for entry in hours)
    ended = succeeded + sum(entry.failed or 0 for entry in hours)
    today = hours[-1].hour[:10]
    return {
        "successPercent": round(100 * succeeded / ended) if ended else None,
        "syncs": ended,
        "recordsToday": sum(entry.read or 0 for entry in hours if entry.hour.startswith(today)),
        "hours": [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in hours],
    }


def rate(recent: dict[str, Any] | None, now: datetime) -> tuple[float | None, float | None]:
    """Success rate from 0 to 1 and mean seconds of a sync over the 24 hours before `now`; None without any."""
    hours = [entry for entry in (recent or {}).get("hours") or [] if _at(entry["hour"]) > now - _SPAN]
    succeeded = sum(entry.get("succeeded") or 0 for entry in hours)
    ended = succeeded + sum(entry.get("failed") or 0 for entry in hours)
    if not ended:
        return None, None
    return succeeded / ended, sum(entry.get("seconds") or 0 for entry in hours) / ended


def today(recent: dict[str, Any] | None, now: datetime) -> int:
    """Records read since midnight UTC."""
    day = times.text(now)[:10]
    return sum(entry.get("read") or 0 for entry in (recent or {}).get("hours") or [] if entry["hour"].startswith(day))


def _at(hour: str) -> datetime:
    found = times.moment(hour)
    assert found is not None, "the schema lets only moments pass"
    return found
