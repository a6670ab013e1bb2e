"""Checks of credentials that no run has recorded yet: streaks with one outcome, and what of them the status keeps.

The status is written only when an outcome changes or a run has recorded, so it cannot count a streak that goes on: it
names its outcome and its first check. That much survives the operator; a streak that has ended survives whole. A run
is handed all streaks. They go once it has told that it recorded them, and until then they are handed over again: their
ids are made from what they tell of, so that nothing is recorded twice. See docs/decisions/0014-activity.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise
from typing import Any

from towline.api.integrationstatus import ChecksStatus
from towline.contract import Activity
from towline.core import times
from towline.core.health import Probed
from towline.core.runs import Run

MAX_STREAKS = 20
"""Streaks that wait for a run. Beyond them the oldest goes; the operator's log has each check."""
_MAX_MESSAGE = 256


@dataclass(frozen=True, slots=True)
class Streak:
    """Checks in a row with one outcome. Times are whole seconds."""

    outcome: str
    message: str
    first: datetime
    last: datetime
    count: int = 1
    interrupted: bool = False
    """There were more checks than are counted, all with this outcome."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """What is known of the checks of one Integration."""

    outcome: str = ""
    """Of the newest check; empty before the first."""
    since: datetime | None = None
    """The first check of the present outcome."""
    message: str = ""
    recorded: bool = False
    """A run has recorded that first check."""
    streaks: tuple[Streak, ...] = ()
    """Not recorded yet, oldest first. Those that begin at `since` or later are of the present outcome."""
    offered: datetime | None = None
    """The first check of the newest streak that stands in a plan, or stood in one that was not used."""
    handed: datetime | None = None
    """The same of a plan that a run has. It may have recorded that streak, so it must not grow any more."""
    dropped: int = 0


def heard(ledger: Ledger, probed: Probed) -> Ledger:
    """The ledger with one more check."""
    at, outcome, message = probed.at.replace(microsecond=0), str(probed.reason), probed.message[:_MAX_MESSAGE]
    newest = ledger.streaks[-1] if ledger.streaks else None
    if outcome != ledger.outcome:
        ledger = replace(ledger, outcome=outcome, since=at, message=message, recorded=False)
    elif newest is not None and _goes_on(ledger, newest):
        grown = replace(newest, last=at, count=newest.count + 1)
        return replace(ledger, streaks=(*ledger.streaks[:-1], grown))
    return _bounded(replace(ledger, streaks=(*ledger.streaks, Streak(outcome, message, at, at))))


def _goes_on(ledger: Ledger, newest: Streak) -> bool:
    present = ledger.since is not None and newest.first >= ledger.since
    return present and newest.first not in (ledger.offered, ledger.handed)


def offer(ledger: Ledger) -> Ledger:
    """The ledger whose streaks may go into a plan: what is heard from now on begins a streak of its own.

    A streak that was begun only because of a plan that no run got becomes part of the one before."""
    streaks = list(ledger.streaks)
    if len(streaks) > 1 and streaks[-2].first == ledger.offered != ledger.handed:
        before, after = streaks[-2:]
        if before.outcome == after.outcome and not before.interrupted:
            streaks[-2:] = [replace(before, last=after.last, count=before.count + after.count)]
    return replace(ledger, streaks=tuple(streaks), offered=streaks[-1].first if streaks else ledger.offered)


def handed_over(ledger: Ledger) -> Ledger:
    """A run has the plan with the streaks that were offered last."""
    return replace(ledger, handed=ledger.offered)


def recorded(ledger: Ledger, until: datetime | None) -> Ledger:
    """The ledger without what a run has recorded. `until`: the last check of the newest streak that it recorded."""
    if until is None or ledger.since is None:
        return ledger
    kept: list[Streak] = []
    for streak in ledger.streaks:
        if streak.first > until:
            kept.append(streak)
        elif streak.last > until:  # its plan was older than ours: of the rest, the newest check is certain
            kept.append(replace(streak, first=streak.last, count=1, interrupted=True))
    return replace(ledger, streaks=tuple(kept), recorded=ledger.recorded or ledger.since <= until)


def recorded_until(runs: Iterable[Run]) -> datetime | None:
    """Up to when the checks are recorded, as the runs that have ended say."""
    return max((run.checks_until for run in runs if run.finished and run.checks_until), default=None)


def told_until(seen: Iterable[Activity]) -> str:
    """Up to when a plan tells of checks; empty if of none."""
    ends = [entry.finished or entry.time for entry in seen if entry.kind == "Check" and entry.trigger == "Probe"]
    return max(ends, default="")


def status(ledger: Ledger) -> dict[str, Any] | None:
    """What the Integration's status keeps. A further check with the same outcome changes nothing of it."""
    if ledger.since is None:
        return None
    found: dict[str, Any] = {"outcome": ledger.outcome, "since": times.text(ledger.since)}
    if ledger.message:
        found["message"] = ledger.message
    if ledger.recorded:
        found["recorded"] = True
    if ended := [_wire(streak) for streak in ledger.streaks if streak.first < ledger.since]:
        found["unrecorded"] = ended
    if ledger.dropped:
        found["dropped"] = ledger.dropped
    return found


def remembered(status: ChecksStatus | None) -> Ledger:
    """The ledger after a restart of the operator."""
    since = times.moment(status.since) if status else None
    if status is None or since is None:
        return Ledger()
    streaks = []
    for one in status.unrecorded or []:
        first, last = times.moment(one.since), times.moment(one.until)
        if first is not None and last is not None:
            streaks.append(Streak(one.outcome, one.message or "", first, last, one.count, bool(one.interrupted)))
    outcome, message = status.outcome or "", status.message or ""
    if not status.recorded:
        streaks.append(Streak(outcome, message, since, since, interrupted=True))
    # Checks from now on are a streak of their own: how many there were before is not known.
    return Ledger(
        outcome, since, message, bool(status.recorded), tuple(streaks), handed=since, dropped=status.dropped or 0
    )


def merged(ledger: Ledger, other: Ledger) -> Ledger:
    """The ledger with what a status says that another operator has written meanwhile."""
    if other.since is None or ledger.since is None:
        return other if ledger.since is None else ledger
    found = {streak.first: streak for streak in other.streaks}
    found |= {one.first: one for one in ledger.streaks if one.count >= getattr(found.get(one.first), "count", 0)}
    newer = ledger if ledger.since >= other.since else other
    same = ledger.since == other.since
    return _bounded(
        replace(
            ledger,
            outcome=newer.outcome,
            since=newer.since,
            message=newer.message,
            recorded=ledger.recorded or other.recorded if same else newer.recorded,
            streaks=tuple(found[first] for first in sorted(found)),
            dropped=max(ledger.dropped, other.dropped),
        )
    )


def records(ledger: Ledger, name: str, uid: str) -> list[Activity]:
    """What a run is to record. `name` and `uid` of the Integration."""
    return [record(name, uid, streak) for streak in ledger.streaks]


def record(name: str, uid: str, streak: Streak) -> Activity:
    """One streak as a record of activity."""
    first = times.text(streak.first)
    detail: dict[str, Any] = {"count": streak.count}
    if streak.interrupted:
        detail["interrupted"] = True
    return Activity(
        id=f"check/{uid}/{first}",
        kind="Check",
        time=first,
        finished=times.text(streak.last),
        object=f"Integration/{name}",
        trigger="Probe",
        actor="operator",
        outcome=streak.outcome,
        message=streak.message,
        calls=streak.count,
        correlation=uid,
        detail=detail,
    )


def _bounded(ledger: Ledger) -> Ledger:
    streaks = list(ledger.streaks)
    while len(streaks) > MAX_STREAKS:
        # One that only goes on with the outcome of the one before says least.
        pairs = enumerate(pairwise(streaks[:-1]), 1)
        del streaks[next((number for number, (one, two) in pairs if one.outcome == two.outcome), 0)]
    return replace(ledger, streaks=tuple(streaks), dropped=ledger.dropped + len(ledger.streaks) - len(streaks))


def _wire(streak: Streak) -> dict[str, Any]:
    found: dict[str, Any] = {
        "outcome": streak.outcome,
        "since": times.text(streak.first),
        "until": times.text(streak.last),
        "count": streak.count,
    }
    if streak.message:
        found["message"] = streak.message
    if streak.interrupted:
        found["interrupted"] = True
    return found
