"""The operator's part of the activity record: a JSON line for each run, check and change, and the checks that the
next run is to record. See docs/decisions/0014-activity.md."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from towline.api.syncjob import SyncJob
from towline.contract import Activity
from towline.controller.queue import Key
from towline.core import activity, times
from towline.core.actions import Action, CountAttempt, CountRun, PatchStatus
from towline.core.health import Probed

log = logging.getLogger("towline.audit")
_CLOSED = 3  # changes of outcome that wait for the next run


@dataclass(slots=True)
class _Checks:
    """Checks in a row with one outcome."""

    outcome: str
    message: str
    first: datetime
    last: datetime
    count: int = 1


@dataclass(slots=True)
class _Told:
    current: _Checks
    closed: tuple[_Checks, ...] = ()


class Audit:
    """Lines go to the logger `towline.audit` at INFO. Used from the main loop only."""

    def __init__(self) -> None:
        self._checks: dict[Key, _Told] = {}

    def checked(self, key: Key, uid: str, connector: str, probed: Probed) -> None:
        """A health call has tried an Integration's credentials."""
        outcome = str(probed.reason)
        found = self._checks.get(key)
        if found is None:
            self._checks[key] = _Told(_Checks(outcome, probed.message, probed.at, probed.at))
        elif found.current.outcome == outcome:
            found.current.last, found.current.count = probed.at, found.current.count + 1
        else:
            found.closed = (*found.closed, found.current)[-_CLOSED:]
            found.current = _Checks(outcome, probed.message, probed.at, probed.at)
        if log.isEnabledFor(logging.INFO):
            only = _Checks(outcome, probed.message, probed.at, probed.at)
            self._write(key, connector, _check(key, uid, only))

    def checks(self, key: Key, uid: str) -> list[Activity]:
        """What the next run is to record of the checks."""
        found = self._checks.get(key)
        return [_check(key, uid, one) for one in (*found.closed, found.current)] if found else []

    def handed_over(self, key: Key) -> None:
        """A run has these checks in its plan: the next ones are counted anew."""
        self._checks.pop(key, None)

    def forget(self, key: Key) -> None:
        self._checks.pop(key, None)

    def performed(
        self, kind: str, before: dict[str, Any], after: dict[str, Any], actions: Iterable[Action], connector: str
    ) -> None:
        """Actions on an object were carried out."""
        seen = (before.get("status") or {}).get("observedGeneration")
        done = list(actions)
        generation = after["metadata"].get("generation")
        if kind != "SyncJob" and seen != generation and any(isinstance(one, PatchStatus) for one in done):
            self._write(_key(kind, after), connector, activity.change(kind, after["metadata"], None, datetime.now(UTC)))
        if kind == "SyncJob" and any(isinstance(one, CountRun) for one in done):
            self._ended(after, done, connector)

    def _ended(self, raw: dict[str, Any], actions: list[Action], connector: str) -> None:
        try:
            sync = SyncJob.model_validate(raw)
        except ValidationError:
            return
        entry = activity.ended(sync)
        if entry is None:
            return
        for action in actions:
            if isinstance(action, CountAttempt):
                entry = entry.model_copy(update={"calls": sum(action.result.http.values())})
        key = Key("Integration", raw["metadata"]["namespace"], sync.spec.integration_ref.name)
        self._write(key, connector, entry)

    def _write(self, key: Key, connector: str, entry: Activity) -> None:
        place = f"{key.namespace}/{key.name}" if key.kind == "Integration" else ""
        line = {"activity": entry.kind, "integration": place, "connector": connector}
        log.info("%s", json.dumps(line | entry.model_dump(exclude_defaults=True, exclude={"kind"}), ensure_ascii=True))


def _check(key: Key, uid: str, checks: _Checks) -> Activity:
    first = times.text(checks.first)
    return Activity(
        id=f"check/{uid}/{first}",
        kind="Check",
        time=first,
        finished=times.text(checks.last),
        object=f"Integration/{key.name}",
        trigger="Probe",
        actor="operator",
        outcome=checks.outcome,
        message=checks.message[:600],
        calls=checks.count,
        correlation=uid,
        detail={"count": checks.count},
    )


def _key(kind: str, obj: dict[str, Any]) -> Key:
    return Key(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
