"""Ends of syncs that no sync has recorded and whose SyncJobs go: what the Integration's status keeps of them.

A pod records its own end where it can. Where it could not, the SyncJob tells for as long as it is kept; after that the
status does, syncs in a row with one outcome as one entry. Nothing is counted twice: a sync that may stand in the record
already keeps an entry, and so an id, of its own. See docs/decisions/0014-activity.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from towline.api.integrationstatus import SyncEnds, SyncStreak
from towline.contract import Activity
from towline.core import times
from towline.core.runs import Run

MAX_STREAKS = 20
"""Entries that wait for a sync. Beyond them the oldest goes; the operator's log has each end."""
_MAX_MESSAGE = 256


@dataclass(frozen=True)
class Pruned:
    """Which SyncJobs go now, and the status that has to be written before."""

    gone: tuple[Run, ...]
    status: SyncEnds | None


def prune(before: SyncEnds | None, runs: Sequence[Run], surplus: Iterable[Run]) -> Pruned:
    """Let go of `surplus`. Of those whose end is not recorded one at a time: its entry is written first, and as long
    as it is still there the newest entry names it, so that a crash in between neither loses nor doubles it."""
    until = recorded_until(before, runs)
    kept = [one for one in _entries(before) if until is None or _end(one) > until]
    dropped = (before.dropped or 0) if before else 0
    waiting = next((run for run in runs if kept and run.uid == kept[-1].last_uid), None)
    going = list(surplus)
    gone = [run for run in going if recorded(run, until)]
    pending = [run for run in going if not recorded(run, until)]
    if waiting is not None:
        gone = [run for run in gone if run.uid != waiting.uid] + [waiting]
    elif pending:
        kept = _with(kept, pending[0], may_stand(pending[0], runs))
        gone.append(pending[0])
    dropped += max(0, len(kept) - MAX_STREAKS)
    status = SyncEnds(
        recorded_until=times.text(until) if until else None,
        unrecorded=kept[-MAX_STREAKS:] or None,
        dropped=dropped or None,
    )
    return Pruned(tuple(sorted(gone, key=lambda run: run.order)), status if status.wire() else None)


def recorded_until(before: SyncEnds | None, runs: Iterable[Run]) -> datetime | None:
    """All ends up to then are recorded, as the runs that have ended say."""
    said = [run.ends_until for run in runs if run.finished]
    said.append(times.moment(before.recorded_until) if before else None)
    return max((moment for moment in said if moment is not None), default=None)


def recorded(run: Run, until: datetime | None) -> bool:
    """Whether the end of a run stands in the record of activity."""
    if run.succeeded and run.mode != "Check":  # what cannot write its end does not succeed
        return True
    return run.completed is not None and until is not None and run.completed <= until


def may_stand(run: Run, runs: Iterable[Run]) -> bool:
    """Whether the end of a run, or an entry that was handed to it, may stand in the record although nobody said so."""
    after = (other for other in runs if other.uid != run.uid and other.order > run.order)
    return run.activity != "Nothing" or any(not other.finished or other.activity == "Unknown" for other in after)


def covered(before: SyncEnds | None) -> str:
    """The uid of the one SyncJob that may still be there although an entry tells of it; empty if there is none."""
    entries = _entries(before)
    return entries[-1].last_uid if entries else ""


def records(before: SyncEnds | None, name: str) -> list[Activity]:
    """What a run is to record. `name` of the Integration."""
    return [_record(name, one) for one in _entries(before)]


def told(entries: Iterable[Activity], room: int, now: datetime) -> tuple[list[Activity], str]:
    """The oldest ends that fit into a plan, and up to when all are told with them. The present second does not count:
    another sync may end in it."""
    dated = [(times.moment(entry.finished), entry) for entry in entries]
    ordered = sorted(((end, entry) for end, entry in dated if end is not None), key=lambda pair: (pair[0], pair[1].id))
    chosen, rest = ordered[:room], ordered[room:]
    limit = min([now.replace(microsecond=0), *(end for end, _ in rest[:1])])
    until = max((end for end, _ in chosen if end < limit), default=None)
    return [entry for _, entry in chosen], times.text(until) if until else ""


def _with(kept: list[SyncStreak], run: Run, alone: bool) -> list[SyncStreak]:
    newest = kept[-1] if kept else None
    made = _streak(run, alone)
    if newest is None or alone or newest.alone or _kind(newest) != _kind(made):
        return [*kept, made]
    grown = newest.model_copy(
        update={"until": max(newest.until, made.until), "count": newest.count + 1, "last_uid": run.uid}
    )
    return [*kept[:-1], grown]


def _kind(streak: SyncStreak) -> tuple[str | None, ...]:
    return streak.outcome, streak.trigger, streak.actor, streak.mode


def _streak(run: Run, alone: bool) -> SyncStreak:
    ended = times.text(run.completed or run.created)
    return SyncStreak(
        outcome=run.reason[:64],
        message=run.message[:_MAX_MESSAGE] or None,
        trigger=run.trigger,
        actor=run.actor[:256] or None,
        mode="Check" if run.mode == "Check" else None,
        since=times.text(run.start or run.created),
        until=ended,
        count=1,
        first=run.name,
        first_attempt=f"{run.uid}/{run.attempts}"[:128],
        last_uid=run.uid[:64],
        alone=alone or None,
    )


def _record(name: str, one: SyncStreak) -> Activity:
    single = one.count == 1  # then it is the record that its pod may have written itself
    detail = {"told_by": "operator"} if single else {"count": one.count, "first": one.first, "told_by": "operator"}
    return Activity(
        id=f"run/{one.first_attempt}" if single else f"runs/{one.first_attempt}",
        kind="Check" if one.mode == "Check" else "Run",
        time=times.text(times.moment(one.since) or _end(one)),
        finished=times.text(_end(one)),
        object=f"SyncJob/{one.first}" if single else f"Integration/{name}",
        trigger=one.trigger,
        actor=one.actor or "",
        outcome=one.outcome,
        message=one.message or "",
        correlation=one.first_attempt,
        detail=detail,
    )


def _entries(before: SyncEnds | None) -> list[SyncStreak]:
    """The entries of a status, but none without an end, which somebody must have written by hand."""
    return [one for one in (before.unrecorded or [] if before else []) if times.moment(one.until)]


def _end(one: SyncStreak) -> datetime:
    moment = times.moment(one.until)
    assert moment is not None  # see _entries
    return moment
