"""Credentials that expire: told two weeks before, and again on the day."""

from __future__ import annotations

from datetime import datetime, timedelta

from towline.api.conditions import ConditionType, Reason
from towline.core import times
from towline.core.conditions import Wanted

WARN = timedelta(days=14)


def warned(wanted: list[Wanted], expires: datetime | None, now: datetime) -> list[Wanted]:
    """The conditions, with what is to be said of credentials that are still accepted but not for long."""
    if expires is None or now < expires - WARN:
        return wanted
    over = now >= expires
    when = f"{'expired' if over else 'expire'} at {times.text(expires)}"
    text = f"The credentials {when}. Put new ones into the Secret and correct its annotation towline.dev/expires-at"
    reason = Reason.EXPIRED if over else Reason.EXPIRES_SOON
    told = [one for one in wanted if one.type is ConditionType.CREDENTIALS_VALID]
    if any(one.status == "False" for one in told):
        return wanted  # rejected already: that says more
    # Past the date the system decides, not the annotation: only a rejection makes the condition False.
    status = told[0].status if told else "Unknown"
    return [one for one in wanted if one not in told] + [Wanted(ConditionType.CREDENTIALS_VALID, status, reason, text)]


def next_look(expires: datetime | None, now: datetime) -> datetime | None:
    """When what is to be said changes by time alone."""
    moments = [expires - WARN, expires] if expires else []
    return min((moment for moment in moments if moment > now), default=None)
