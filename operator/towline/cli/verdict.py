"""How an Integration is doing in one line: what `status`, `why` and `tree` say first, so that they agree.

Ready stays True until three syncs have failed, because the rows are still there and the next run may succeed. Whoever
asks wants to hear of the first failure all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
_RETRYING = "Retrying"
_SUCCESSES = frozenset({"Completed", "PartiallyCompleted"})
_NOT_FAILURES = frozenset({"Replaced", "Cancelled", "Superseded"})


@dataclass(frozen=True, slots=True)
class Trouble:
    """The sync that failed last, or that is being tried again."""

    sync: str
    """Its name; empty where it is not known any more."""
    reason: str
    message: str = ""
    """Empty where the SyncJob is gone."""
    time: str | None = None
    """When it failed."""
    following: str | None = None
    """When it is tried again, where it is."""


@dataclass(frozen=True, slots=True)
class Verdict:
    status: str
    """True, False or Unknown, as Ready says."""
    reason: str
    message: str
    since: str | None
    trouble: Trouble | None

    @property
    def mark(self) -> str:
        if self.trouble is not None and self.status != "False":
            return "!"
        return {"True": "✔", "False": "✗"}.get(self.status, "◎")

    @property
    def cause(self) -> str:
        """The reason that a cure belongs to."""
        return self.trouble.reason if self.trouble else self.reason

    @property
    def headline(self) -> str:
        """The reason, and what to know beside it."""
        if self.trouble is None or self.status == "False":
            return self.reason
        failed = "its newest sync is being tried again" if self.trouble.following else "its last sync failed"
        return f"{self.reason}, but {failed} ({self.trouble.reason})"

    def sentence(self, relative: Callable[[str], str]) -> str:
        """What else is to be said first; `relative` puts a time into words."""
        if self.trouble is None or self.status == "False":
            return self.message
        when = f" failed {relative(self.trouble.time)}" if self.trouble.time else ""
        return f"{self.trouble.sync or 'It'}{when}: {self.trouble.message or self.trouble.reason}"


_PENDING = {"status": "Unknown", "reason": "Pending", "message": "The operator has not looked at it yet."}


def condition(item: Object, kind: str) -> Object | None:
    conditions = (item.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry.get("type") == kind), None)


def judge(integration: Object, syncs: Sequence[Object] = ()) -> Verdict:
    """What is to be said of an Integration. `syncs`: its SyncJobs as far as they are known, newest first."""
    stalled, ready = condition(integration, "Stalled"), condition(integration, "Ready") or _PENDING
    if stalled and stalled["status"] == "True":
        return Verdict("False", stalled["reason"], stalled["message"], stalled.get("lastTransitionTime"), None)
    trouble = _trouble(integration, syncs)
    return Verdict(ready["status"], ready["reason"], ready["message"], ready.get("lastTransitionTime"), trouble)


def _trouble(integration: Object, syncs: Sequence[Object]) -> Trouble | None:
    for sync in syncs:
        entry, state = condition(sync, "Succeeded"), sync.get("status") or {}
        if entry and entry["reason"] == _RETRYING and not state.get("completionTime"):
            cause = (condition(sync, "Reconciling") or entry)["reason"]
            return Trouble(sync["metadata"]["name"], cause, entry["message"], following=state.get("nextAttemptTime"))
    state = integration.get("status") or {}
    last = state.get("lastSync") or {}
    if not state.get("consecutiveFailures"):
        return None
    for sync in sorted(syncs, key=lambda one: (one.get("status") or {}).get("completionTime") or "", reverse=True):
        entry = condition(sync, "Succeeded")
        if entry and entry["status"] == "False" and entry["reason"] not in _NOT_FAILURES and _stores(sync):
            ended = (sync.get("status") or {}).get("completionTime")
            return Trouble(sync["metadata"]["name"], entry["reason"], entry["message"], ended)
    name, reason = (last.get("name") or "", last.get("reason") or "")
    if reason in _SUCCESSES:  # of a check since
        name, reason = "", ""
    return Trouble(name, reason or "SyncFailed", "", state.get("lastFailureTime"))


def _stores(sync: Object) -> bool:
    return bool(sync["spec"].get("mode") != "Check")
