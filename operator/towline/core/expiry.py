"""What expires: credentials, and the certificates of systems. Told two weeks before, and again on the day."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from towline.api.conditions import ConditionType, Reason
from towline.core import times
from towline.core.conditions import Wanted

WARN = timedelta(days=14)
_LAST_PART = 4
"""What lives short is renewed by a machine: it is warned of when a quarter of its life is left."""


class What(StrEnum):
    CREDENTIALS = "credentials"
    CERTIFICATE = "certificate"


@dataclass(frozen=True, slots=True)
class Expiry:
    """An end that is known beforehand. `name` says of what, as the subject of a sentence."""

    what: What
    at: datetime
    name: str
    begins: datetime | None = None
    cure: str = ""

    @property
    def warn_at(self) -> datetime:
        """From when on a person should know."""
        part = (self.at - self.begins) / _LAST_PART if self.begins and self.begins < self.at else WARN
        return self.at - min(WARN, part)


def annotated(at: datetime) -> Expiry:
    """What the Secret's annotation says of its credentials."""
    cure = "Put new ones into the Secret and correct its annotation towline.dev/expires-at"
    return Expiry(What.CREDENTIALS, at, "The credentials", cure=cure)


def first(found: Iterable[Expiry], what: What) -> Expiry | None:
    """Of all ends of one sort the one that comes first."""
    return min((one for one in found if one.what is what), key=lambda one: one.at, default=None)


def warned(wanted: list[Wanted], found: Iterable[Expiry], now: datetime) -> list[Wanted]:
    """The conditions, with what is to be said of what is still good but not for long."""
    found = tuple(found)
    return _certificate(_credentials(wanted, first(found, What.CREDENTIALS), now), first(found, What.CERTIFICATE), now)


def _credentials(wanted: list[Wanted], expiry: Expiry | None, now: datetime) -> list[Wanted]:
    if expiry is None or now < expiry.warn_at:
        return wanted
    reason = Reason.EXPIRED if now >= expiry.at else Reason.EXPIRES_SOON
    told = [one for one in wanted if one.type is ConditionType.CREDENTIALS_VALID]
    if any(one.status == "False" for one in told):
        return wanted  # rejected already: that says more
    # Past the date the system decides, not the date: only a rejection makes the condition False.
    status = told[0].status if told else "Unknown"
    fresh = Wanted(ConditionType.CREDENTIALS_VALID, status, reason, _text(expiry, now))
    return [one for one in wanted if one not in told] + [fresh]


def _certificate(wanted: list[Wanted], expiry: Expiry | None, now: datetime) -> list[Wanted]:
    """Only while the system is well: anything else about its health says more."""
    if expiry is None or now < expiry.warn_at:
        return wanted
    fresh = replace(_HEALTHY, message=_text(expiry, now))
    return [
        fresh if one.type is ConditionType.HEALTHY and one.reason in (Reason.REACHABLE, _HEALTHY.reason) else one
        for one in wanted
    ]


_HEALTHY = Wanted(ConditionType.HEALTHY, "True", Reason.CERTIFICATE_EXPIRES_SOON, "")


def _text(expiry: Expiry, now: datetime) -> str:
    verb = "expired" if now >= expiry.at else "expire" if expiry.name.endswith("s") else "expires"
    return f"{expiry.name} {verb} at {times.text(expiry.at)}" + (f". {expiry.cure}" if expiry.cure else "")


def next_look(found: Iterable[Expiry], now: datetime) -> datetime | None:
    """When what is to be said changes by time alone."""
    moments = [moment for one in found for moment in (one.warn_at, one.at)]
    return min((moment for moment in moments if moment > now), default=None)
