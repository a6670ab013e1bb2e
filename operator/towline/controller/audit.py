"""The operator's part of the activity record: a JSON line for each run, check and change, and the checks that the
next run is to record. See docs/decisions/0014-activity.md."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from towline.api.integrationstatus import ChecksStatus
from towline.api.syncjob import SyncJob
from towline.contract import Activity
from towline.controller.queue import Key
from towline.core import activity, checks
from towline.core.actions import Action, CountAttempt, CountRun, PatchStatus
from towline.core.checks import Ledger, Streak
from towline.core.health import Probed

log = logging.getLogger("towline.audit")


class Audit:
    """Lines go to the logger `towline.audit` at INFO. Used from the main loop only."""

    def __init__(self) -> None:
        self._ledgers: dict[Key, tuple[str, Ledger]] = {}
        self._doubted: set[Key] = set()

    def ledger(self, key: Key, uid: str, status: ChecksStatus | None) -> Ledger:
        """What is known of an Integration's checks; at first, what its status says."""
        found = self._ledgers.get(key)
        if found is None or found[0] != uid:
            found = self._ledgers[key] = uid, checks.remembered(status)
        elif status is not None and key in self._doubted:
            found = self._ledgers[key] = uid, checks.merged(found[1], checks.remembered(status))
            self._doubted.discard(key)
        return found[1]

    def doubt(self, key: Key) -> None:
        """Somebody else has written the Integration: what its status says of checks may be news, for example of the
        operator that led before."""
        self._doubted.add(key)

    def keep(self, key: Key, uid: str, ledger: Ledger) -> Ledger:
        """From now on this is known."""
        self._ledgers[key] = uid, ledger
        return ledger

    def checked(self, key: Key, uid: str, connector: str, probed: Probed) -> bool:
        """A health call has tried an Integration's credentials; whether its status has something new to tell."""
        before = self.ledger(key, uid, None)
        after = self.keep(key, uid, checks.heard(before, probed))
        if log.isEnabledFor(logging.INFO):
            only = Streak(str(probed.reason), probed.message[:600], probed.at, probed.at)
            self._write(key, connector, checks.record(key.name, uid, only))
        return before.since != after.since

    def handed_over(self, key: Key) -> None:
        """A run has the checks in its plan that were offered last."""
        if found := self._ledgers.get(key):
            self.keep(key, found[0], checks.handed_over(found[1]))

    def forget(self, key: Key) -> None:
        self._ledgers.pop(key, None)
        self._doubted.discard(key)

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


def _key(kind: str, obj: dict[str, Any]) -> Key:
    return Key(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
