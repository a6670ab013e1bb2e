"""What the metrics tell of each Integration, read from the cache."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from towline.api.integration import Schedule
from towline.controller.cache import Cache
from towline.core import recent, times
from towline.core.expiry import What
from towline.core.health import Track
from towline.core.schedule import ScheduleError, gap, timetable
from towline.gauges import IntegrationSample

_SOME_DAY = datetime(2026, 1, 5, tzinfo=UTC)


def samples(cache: Cache, tracks: Mapping[tuple[str, str], Track]) -> Iterator[IntegrationSample]:
    """One sample per Integration. One that cannot be read is left out; it never spoils the others."""
    now = datetime.now(UTC)
    for raw in cache.all("Integration"):
        try:
            yield _sample(cache, raw, tracks, now)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue


def _sample(
    cache: Cache, raw: dict[str, Any], tracks: Mapping[tuple[str, str], Track], now: datetime
) -> IntegrationSample:
    meta, spec, status = raw["metadata"], raw["spec"], raw.get("status") or {}
    connector = spec["connectorRef"]["name"]
    found = cache.get("Connector", "", connector) or {}
    last = times.moment(status.get("lastSuccessfulTime"))
    schedule = spec.get("schedule") or {}
    track = tracks.get((meta["namespace"], meta["name"]))
    probed = track.last if track else None
    rate, mean = recent.rate(status.get("recent"), now)
    return IntegrationSample(
        namespace=meta["namespace"],
        name=meta["name"],
        connector=connector,
        category=str(found.get("spec", {}).get("category", "")),
        conditions=tuple((one["type"], one["status"], one["reason"]) for one in status.get("conditions") or []),
        suspended=bool(spec.get("suspend")),
        last_success=last.timestamp() if last else None,
        interval=_interval(schedule.get("cron"), schedule.get("timeZone"), schedule.get("interval")),
        failures=int(status.get("consecutiveFailures") or 0),
        success_rate=rate,
        mean_seconds=mean,
        records_today=recent.today(status.get("recent"), now),
        health=str(track.state) if track else "",
        probe_seconds=track.seconds or None if track else None,
        last_probe=probed.at.timestamp() if probed else None,
        expiries=_expiries(status),
    )


def _expiries(status: dict[str, Any]) -> tuple[tuple[str, float], ...]:
    known = (
        (What.CREDENTIALS, (status.get("credentials") or {}).get("expiresAt")),
        (What.CERTIFICATE, (status.get("health") or {}).get("certificateExpiresAt")),
    )
    return tuple((str(what), at.timestamp()) for what, text in known if (at := times.moment(text)))


@lru_cache(maxsize=4096)
def _interval(cron: str | None, zone: str | None, interval: str | None) -> float | None:
    """Seconds between two runs. One day stands for all, so that the value does not move with the calendar."""
    if not cron and not interval:
        return None
    try:
        return gap(timetable(Schedule(cron=cron, time_zone=zone, interval=interval), ""), _SOME_DAY).total_seconds()
    except (ScheduleError, ValidationError):
        return None
