"""Who did what, read from the objects alone."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tests.unit.core.build import NOW, around, integration, sync

from towline.contract import MAX_SEEN, REQUESTED_AT, REQUESTED_BY
from towline.core import activity, checks, names
from towline.core.checks import Streak
from towline.core.facts import SecretFacts


def entry(manager: str, time: str, *, spec: bool = False, notes: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {"f:spec": {"f:suspend": {}}} if spec else {}
    if notes:
        fields["f:metadata"] = {"f:annotations": {f"f:{name}": {} for name in notes}}
    return {"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields, **more}


def meta(*entries: dict[str, Any], annotations: dict[str, str] | None = None) -> dict[str, Any]:
    found = {"uid": "u-1", "name": "acme-prod", "generation": 4, "creationTimestamp": "2026-11-01T00:00:00Z"}
    return {**found, activity.ACTORS: activity.actors(entries), "annotations": annotations or {}}


def test_the_last_writer_of_the_spec_is_who_changed_it_and_status_does_not_count() -> None:
    known = meta(
        entry("argocd-controller", "2026-11-20T08:00:00Z", spec=True),
        entry("kubectl-edit", "2026-11-21T08:00:00Z", spec=True),
        entry("towline", "2026-11-22T08:00:00Z", spec=True, subresource="status"),
        entry("kubectl-annotate", "2026-11-23T08:00:00Z", notes=(REQUESTED_AT,)),
    )
    assert activity.changed_by(known) == ("kubectl-edit", "2026-11-21T08:00:00Z")


def test_a_request_names_the_person_only_when_the_same_tool_wrote_both() -> None:
    notes = {REQUESTED_AT: "t", REQUESTED_BY: "anna"}
    both = meta(entry("towline-cli", "2026-11-21T08:00:00Z", notes=(REQUESTED_AT, REQUESTED_BY)), annotations=notes)
    assert activity.requested_by(both) == "anna (towline-cli)"
    later = meta(
        entry("towline-cli", "2026-11-21T08:00:00Z", notes=(REQUESTED_BY,)),
        entry("kubectl-annotate", "2026-11-22T08:00:00Z", notes=(REQUESTED_AT,)),
        annotations=notes,
    )
    assert activity.requested_by(later) == "kubectl-annotate"


def test_each_trigger_has_its_actor() -> None:
    known = meta(
        entry("kubectl-edit", "2026-11-21T08:00:00Z", spec=True),
        entry("kubectl-annotate", "2026-11-21T09:00:00Z", notes=(REQUESTED_AT,)),
        annotations={REQUESTED_AT: "now"},
    )
    secret = SecretFacts("s-1/7", frozenset(), changed_by="external-secrets", changed_time="2026-11-21T07:00:00Z")
    scheduled = sync(trigger="Schedule", scheduledTime="2026-11-21T08:00:00Z")
    assert activity.actor_of(scheduled, known, around(), secret) == "schedule"
    assert activity.actor_of(sync(trigger="CredentialsRotated"), known, around(), secret) == "external-secrets"
    assert activity.actor_of(sync(trigger="SpecChange"), known, around(), secret) == "kubectl-edit"
    asked = sync()
    asked.metadata["name"] = names.requested("acme-prod", "now")
    assert activity.actor_of(asked, known, around(), secret) == "kubectl-annotate"
    by_hand = sync()
    by_hand.metadata["name"], by_hand.metadata["ownerReferences"] = "mine", []
    by_hand.metadata[activity.ACTORS] = activity.actors([entry("kubectl-create", "2026-11-21T09:00:00Z", spec=True)])
    assert activity.actor_of(by_hand, known, around(), secret) == "kubectl-create"


def test_a_change_tells_which_fields_without_telling_their_values() -> None:
    subject = integration(config={"region": "eu", "host": "a.example"})
    known = meta(entry("kubectl-edit", "2026-11-21T08:00:00Z", spec=True))
    told = activity.change("Integration", known, subject.spec.wire(), NOW)
    assert (told.id, told.actor, told.object) == ("change/u-1/4", "kubectl-edit", "Integration/acme-prod")
    assert "connectorRef" in told.detail["digests"]
    assert "example" not in told.model_dump_json()
    again = activity.change("Integration", known, subject.spec.wire(), NOW)
    assert again == told, "a restart tells the same"


def test_the_end_of_a_run_has_the_id_that_the_run_itself_would_use() -> None:
    status = {
        "attempts": 2, "startTime": "2026-11-21T08:00:00Z", "completionTime": "2026-11-21T08:05:00Z", "actor": "anna",
        "conditions": [{"type": "Succeeded", "status": "False", "reason": "OutOfMemory", "message": "Too little.",
                        "lastTransitionTime": "2026-11-21T08:05:00Z"}],
    }  # fmt: skip
    done = sync(status)
    told = activity.ended(done)
    assert told is not None
    assert told.id == f"run/{done.metadata['uid']}/2"
    assert (told.outcome, told.message, told.actor) == ("OutOfMemory", "Too little.", "anna")
    assert activity.ended(sync()) is None


def test_a_plan_carries_the_newest_records_only() -> None:
    done = activity.change("Integration", meta(), None, NOW)
    many = [done.model_copy(update={"id": str(n), "time": f"2026-11-21T08:{n:02}:00Z"}) for n in range(MAX_SEEN + 5)]
    kept = activity.origin(sync(), "anna", many, [], 30, NOW)
    assert [one.id for one in kept.seen] == [str(n) for n in range(5, MAX_SEEN + 5)]
    assert kept.keep_days == 30


def test_checks_go_into_a_plan_before_what_the_objects_tell_anyway() -> None:
    done = activity.change("Integration", meta(), None, NOW)
    many = [done.model_copy(update={"id": str(n), "time": f"2026-11-21T08:{n:02}:00Z"}) for n in range(MAX_SEEN + 5)]
    old = Streak("CredentialsRejected", "401", NOW - timedelta(days=30), NOW - timedelta(days=30))
    kept = activity.origin(sync(), "anna", [*many, checks.record("acme-prod", "u-1", old)], [], 30, NOW).seen
    assert [one.kind for one in kept].count("Check") == 1
    assert len(kept) == MAX_SEEN


def test_ends_of_syncs_go_into_a_plan_before_what_the_objects_tell_anyway() -> None:
    done = activity.change("Integration", meta(), None, NOW)
    many = [done.model_copy(update={"id": str(n), "time": f"2026-11-21T08:{n:02}:00Z"}) for n in range(MAX_SEEN)]
    end = activity.ended(
        sync({"startTime": "2026-11-20T07:00:00Z", "completionTime": "2026-11-20T08:00:00Z", "attempts": 1})
    )
    assert end
    kept = activity.origin(sync(), "", many, [end] * 2, 90, NOW)
    assert [entry.id for entry in kept.seen] == [end.id] * 2 + [str(n) for n in range(2, MAX_SEEN)]
    assert kept.ends_until == "2026-11-20T08:00:00Z"


def test_an_attempt_that_ended_without_a_word_is_told_by_the_one_after_it() -> None:
    waiting = {
        "attempts": 2,
        "startTime": "2026-11-21T08:00:00Z",
        "nextAttemptTime": "2026-11-21T08:05:00Z",
        "conditions": [
            {
                "type": "Reconciling",
                "status": "True",
                "reason": "OutOfMemory",
                "message": "The connector needed more memory",
                "lastTransitionTime": "2026-11-21T08:00:00Z",
            }
        ],
    }
    told = activity.attempted(sync(waiting))
    assert told
    assert (told.id, told.outcome, told.detail["attempt"]) == ("run/uid-acme-prod-m-1/2", "OutOfMemory", 2)
    assert activity.attempted(sync()) is None
    assert activity.attempted(sync({**waiting, "completionTime": "2026-11-21T08:05:00Z"})) is None
