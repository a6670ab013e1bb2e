"""The pause between two attempts of a SyncJob, and what ends it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.unit.core.build import NOW, checked, integration
from tests.unit.core.test_syncjobs import decide

from towline.api.integration import Integration
from towline.core import actions as act


def between_attempts(cause: str) -> dict[str, Any]:
    """The status of a SyncJob whose attempt with generation 1 failed, and whose next one is due in an hour."""
    since = {"lastTransitionTime": "2026-11-21T08:00:00Z", "message": "It failed", "observedGeneration": 1}
    retrying = [
        {"type": "Succeeded", "status": "Unknown", "reason": "Retrying", **since},
        {"type": "Reconciling", "status": "True", "reason": cause, **since},
    ]
    times = {"startTime": "2026-11-21T08:00:00Z", "nextAttemptTime": "2026-11-21T09:30:00Z"}
    return {"attempts": 1, "failures": 1, "integrationGeneration": 1, "conditions": retrying, **times}


def changed(**spec: Any) -> Integration:
    found = integration(**spec)
    found.metadata["generation"] = 2
    return found


def test_a_corrected_spec_is_tried_at_once() -> None:
    decision = decide(between_attempts("OutOfMemory"), subject=changed())
    (made,) = [action for action in decision.actions if isinstance(action, act.CreateJob)]
    assert made.body["metadata"]["name"] == "acme-prod-m-1-2"
    status = next(action for action in decision.actions if isinstance(action, act.PatchStatus)).status
    assert (status["attempts"], status["integrationGeneration"]) == (2, 2)
    assert "nextAttemptTime" not in status


def test_the_pause_is_kept_where_no_change_of_the_spec_can_be_the_cure() -> None:
    wrong = checked(integration(), secrets={"acme-api": None})
    for cause, facts in (
        ("OutOfMemory", {}),
        ("RateLimited", {"subject": changed()}),
        ("OutOfMemory", {"subject": changed(suspend=True)}),
        ("OutOfMemory", {"subject": changed(), "checked": wrong}),
    ):
        decision = decide(between_attempts(cause), **facts)
        assert decision.actions == [], (cause, facts)
        assert decision.look_again == NOW + timedelta(hours=1)
