"""What `status`, `why` and `tree` say first of an Integration."""

from __future__ import annotations

from typing import Any

from towline.cli.verdict import judge


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-21T08:00:00Z"}  # fmt: skip


def integration(*conditions: dict[str, str], **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "prod"}, "spec": {}, "status": {"conditions": list(conditions), **status}}


def sync(name: str, *conditions: dict[str, str], mode: str = "Incremental", **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"mode": mode}, "status": {"conditions": list(conditions), **status}}


READY = condition("Ready", "True", "AwaitingFirstSync", "Checked; no sync has ended yet")
FAILED = sync(
    "prod-s-1",
    condition("Succeeded", "False", "Unreachable", "acme.example does not answer"),
    completionTime="2026-11-21T08:05:00Z",
)
ONCE = {"consecutiveFailures": 1, "lastSync": {"name": "prod-s-1", "reason": "Unreachable"},
        "lastFailureTime": "2026-11-21T08:05:00Z"}  # fmt: skip


def test_a_first_sync_that_failed_is_told_although_the_integration_is_ready() -> None:
    found = judge(integration(READY, **ONCE), [FAILED])
    assert (found.mark, found.status, found.cause) == ("!", "True", "Unreachable")
    assert found.headline == "AwaitingFirstSync, but its last sync failed (Unreachable)"
    said = found.sentence(lambda _: "2 min ago")
    assert said == "prod-s-1 failed 2 min ago: acme.example does not answer"


def test_the_integration_alone_tells_of_it_where_nobody_looks_at_the_syncs() -> None:
    found = judge(integration(READY, **ONCE))
    assert (found.mark, found.cause) == ("!", "Unreachable")


def test_a_sync_between_two_attempts_is_told_with_its_cause() -> None:
    waiting = condition("Succeeded", "Unknown", "Retrying", "429. Tries again at 08:10:00Z")
    cause = condition("Reconciling", "True", "RateLimited")
    retrying = sync("prod-m-2", waiting, cause, nextAttemptTime="2026-11-21T08:10:00Z")
    found = judge(integration(condition("Ready", "True", "Synced")), [retrying])
    assert found.headline == "Synced, but its newest sync is being tried again (RateLimited)"
    assert found.sentence(str) == "prod-m-2: 429. Tries again at 08:10:00Z"


def test_a_check_or_a_cancelled_sync_is_not_what_failed() -> None:
    checked = sync(
        "prod-c-3", condition("Succeeded", "True", "Completed"), mode="Check", completionTime="2026-11-21T09:00:00Z"
    )
    stopped = sync("prod-m-4", condition("Succeeded", "False", "Cancelled"), completionTime="2026-11-21T09:30:00Z")
    last = {"name": "prod-c-3", "reason": "Completed"}
    found = judge(integration(READY, **{**ONCE, "lastSync": last}), [stopped, checked, FAILED])
    assert found.trouble is not None
    assert found.trouble.sync == "prod-s-1"
    assert judge(integration(READY, **{**ONCE, "lastSync": last})).cause == "SyncFailed", "which one is not known"


def test_after_the_third_failure_the_cure_is_that_of_the_failure() -> None:
    three = condition("Ready", "False", "SyncFailed", "The last 3 syncs failed. Unreachable: acme.example …")
    found = judge(integration(three, **{**ONCE, "consecutiveFailures": 3}), [FAILED])
    assert (found.mark, found.headline, found.cause) == ("✗", "SyncFailed", "Unreachable")
    assert found.sentence(str) == "The last 3 syncs failed. Unreachable: acme.example …"


def test_what_a_person_has_to_correct_goes_before_everything_else() -> None:
    stalled = condition("Stalled", "True", "SecretNotFound", "There is no Secret api.")
    found = judge(integration(condition("Ready", "True", "Synced"), stalled, **ONCE), [FAILED])
    assert (found.mark, found.headline, found.cause) == ("✗", "SecretNotFound", "SecretNotFound")


def test_without_failures_there_is_nothing_to_tell() -> None:
    assert judge(integration(condition("Ready", "True", "Synced", "The last sync succeeded"))).mark == "✔"
    assert judge({"metadata": {"name": "new"}, "spec": {}}).mark == "◎"
