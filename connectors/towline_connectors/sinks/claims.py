"""Who may write: one attempt at a time holds an integration, and a newer one takes it over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from towline.contract import SyncIdentity
from towline_connectors.sinks.base import SinkError, Superseded


@dataclass(frozen=True, slots=True)
class Claim:
    """A hold on one integration. `token` is random: a hold is lost as soon as the destination has another."""

    token: str
    sync_uid: str
    sync_name: str
    created: str  # as `instant` writes it, so that text order is time order
    attempt: int
    pod_uid: str


def instant(text: str) -> str:
    """An ISO 8601 time in UTC at a fixed width. SinkError if it is none."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SinkError(f"The plan's sync.created is {text!r}, which is no ISO 8601 time.", transient=False) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def claim(sync: SyncIdentity, pod_uid: str, token: str) -> Claim:
    """The claim that an attempt makes."""
    return Claim(token, sync.uid, sync.name, instant(sync.created), sync.attempt, pod_uid)


def check_takeover(mine: Claim, held: Claim | None, integration: str) -> None:
    """Raise Superseded unless `mine` is newer than what is held, or as new: a later SyncJob, a later attempt,
    or another pod of the same attempt. Two SyncJobs of the same second are ordered by uid."""
    if held is None:
        return
    if (mine.created, mine.sync_uid, mine.attempt) >= (held.created, held.sync_uid, held.attempt):
        return
    raise Superseded(
        f"{mine.sync_name} attempt {mine.attempt} does not write: {held.sync_name} attempt {held.attempt},"
        f" which is newer, holds {integration}."
    )


def check_held(mine: Claim, held: Claim | None, integration: str) -> None:
    """Raise Superseded unless the destination still has this very claim."""
    if held is not None and held.token == mine.token:
        return
    by = f"{held.sync_name} attempt {held.attempt} took over" if held is not None else "the claim was removed"
    raise Superseded(f"{mine.sync_name} attempt {mine.attempt} stops writing to {integration}: {by}.")
