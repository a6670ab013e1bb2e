"""Moments as Kubernetes writes them: RFC 3339 in UTC, whole seconds."""

from __future__ import annotations

from datetime import UTC, datetime


def text(moment: datetime) -> str:
    """`2026-11-21T08:32:22Z`; fractions of a second are dropped."""
    # strftime writes the year 1 with one digit, which the API server takes for no time.
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='seconds')}Z"


def moment(value: str | None) -> datetime | None:
    """The moment of an RFC 3339 text; None for nothing and for what is no moment."""
    if not value:
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):  # an object may have been stored before its schema
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def clock(moment: datetime) -> str:
    """`08:32:22Z`, for messages about the next hours."""
    return moment.astimezone(UTC).strftime("%H:%M:%SZ")


def span(seconds: float) -> str:
    """A length of time for people: `45 s`, `3 min`, `2 h 5 min`, `4 d`."""
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes = whole // 60
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{hours // 24} d"
