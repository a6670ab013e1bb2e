"""A SyncJob's life: waiting, attempts, retries, ends, and what is left behind."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.build import NOW, SETTINGS, around, checked, integration, result, sync, view
from tests.unit.core.test_integrations import world
from tests.unit.core.world import CrashError, World

from towline.contract import EXIT_CODES
from towline.core import actions as act
from towline.core.facts import SecretFacts
from towline.core.pods import JobFacts, PodFacts
from towline.core.slots import Place
from towline.core.syncjobs import SyncSnapshot, reconcile_sync


def decide(status: dict[str, Any] | None = None, spec: dict[str, Any] | None = None, **facts: Any) -> act.Decision:
    subject = facts.pop("subject", integration())
    snapshot: dict[str, Any] = {
        "sync": sync(status, **(spec or {})),
        "integration": subject,
        "checked": facts.pop("checked", None) or checked(subject),
        "around": around(),
        "slot": True,
    }
    return reconcile_sync(SyncSnapshot(**{**snapshot, **facts}), NOW, SETTINGS)


def condition(decision: act.Decision, type_: str = "Succeeded") -> dict[str, Any]:
    patches = [action for action in decision.actions if isinstance(action, act.PatchStatus)]
    return next((one for one in patches[-1].status["conditions"] if one["type"] == type_), {})


def kinds(decision: act.Decision) -> list[str]:
    return [type(action).__name__ for action in decision.actions]


def test_a_run_starts_with_its_volume_its_job_and_then_its_status() -> None:
    decision = decide()
    assert kinds(decision)[:3] == ["EnsureClaim", "CreateJob", "PatchStatus"]
    assert decision.slot is act.Slot.HOLD
    status = next(action for action in decision.actions if isinstance(action, act.PatchStatus)).status
    assert status["attempts"] == 1
    assert status["jobRef"] == {"name": "acme-prod-m-1-1"}
    assert (status["integrationGeneration"], status["credentialsVersion"]) == (1, "s-1/1")
    assert status["image"] == "towline:test"


def test_without_a_slot_it_asks_for_one_and_writes_nothing_yet() -> None:
    decision = decide(slot=False, place=Place(3, 17, "10 syncs run, as many as sync.maxActive allows"))
    assert decision.slot is act.Slot.WANT
    assert condition(decision)["reason"] == "Queued"
    assert "number 3 of 17: 10 syncs run" in condition(decision)["message"]
    (patch,) = [action for action in decision.actions if isinstance(action, act.PatchStatus)]
    assert patch.status["queuePosition"] == 3
    assert decide(slot=False).actions == [], "told a moment ago"
    fresh = reconcile_sync(
        SyncSnapshot(sync=sync(), integration=integration(), checked=view(), around=around()),
        NOW - timedelta(seconds=59),
        SETTINGS,
    )
    assert (fresh.actions, fresh.slot) == ([], act.Slot.WANT)


def test_it_waits_for_another_sync_of_the_same_integration() -> None:
    decision = decide(ahead="acme-prod-1")
    assert 'aits for "acme-prod-1"' in condition(decision)["message"]
    assert "CreateJob" not in kinds(decision)


def test_a_job_that_was_made_but_not_told_of_is_taken_on_whatever_would_keep_another() -> None:
    jobs = {1: JobFacts("acme-prod-m-1-1", "uid-of-job", NOW, {})}
    full = Place(3, 17, "10 syncs run, as many as sync.maxActive allows")
    for reason in ({"slot": False, "place": full}, {"ahead": "acme-prod-1"}, {"subject": integration(suspend=True)}):
        decision = decide(jobs=jobs, **reason)
        assert "CreateJob" in kinds(decision), reason
        assert decision.slot is act.Slot.HOLD


def test_it_waits_while_the_integration_is_suspended() -> None:
    assert "suspended" in condition(decide(subject=integration(suspend=True)))["message"]


def test_a_run_in_progress_goes_on_while_the_integration_is_suspended() -> None:
    retrying = {"attempts": 1, "nextAttemptTime": "2026-11-21T08:29:00Z", "startTime": "2026-11-21T08:00:00Z"}
    assert "CreateJob" in kinds(decide(retrying, subject=integration(suspend=True)))


def test_an_integration_that_is_not_there_yet_is_waited_for_and_then_given_up() -> None:
    waiting = reconcile_sync(SyncSnapshot(sync=sync()), NOW - timedelta(seconds=30), SETTINGS)
    assert condition(waiting)["reason"] == "Pending"
    assert waiting.look_again == NOW
    given_up = reconcile_sync(SyncSnapshot(sync=sync()), NOW, SETTINGS)
    assert condition(given_up)["reason"] == "IntegrationNotFound"
    assert condition(given_up, "Stalled")["status"] == "True"


def test_a_problem_of_the_integration_ends_it_with_the_same_sentence() -> None:
    decision = decide(checked=checked(integration(), secrets={"acme-api": None}))
    assert condition(decision)["reason"] == "SecretNotFound"
    assert "kubectl -n secops create secret" in condition(decision)["message"]


def test_streams_that_the_integration_does_not_sync_are_refused() -> None:
    decision = decide(spec={"streams": ["hosts", "nothing"]})
    assert condition(decision)["reason"] == "ConfigInvalid"
    assert "nothing" in condition(decision)["message"]


RUNNING = {"attempts": 1, "startTime": "2026-11-21T08:29:00Z", "jobRef": {"name": "acme-prod-m-1-1"}}
JOB = JobFacts("acme-prod-m-1-1", "j-1", NOW, {})


def after(reason: str, status: dict[str, Any] | None = None, attempt: int = 1, **fields: Any) -> act.Decision:
    found = result(reason, attempt=attempt, **fields)
    pod = PodFacts("p", "p-1", "Failed", exit_code=int(EXIT_CODES[found.reason]), message=found.model_dump_json())
    return decide(status or RUNNING, jobs={attempt: JOB}, pods={attempt: pod})


def test_success_records_the_counts() -> None:
    streams = [{"name": "hosts", "read": 10, "upserted": 4, "deleted": 1, "checkpoint": "c", "full": True}]
    decision = after("Completed", streams=streams)
    status = next(action for action in decision.actions if isinstance(action, act.PatchStatus)).status
    assert condition(decision)["status"] == "True"
    assert condition(decision)["message"] == "4 new or changed, 1 deleted of 10 read"
    assert status["totals"] == {"read": 10, "upserted": 4, "deleted": 1, "rejected": 0}
    assert status["completionTime"] == "2026-11-21T08:30:00Z"
    assert status["exitCode"] == 0
    assert {"CountRun", "CountAttempt", "Emit"} <= set(kinds(decision))


@pytest.mark.parametrize(
    ("reason", "mode", "told"),
    [
        ("Completed", "Incremental", "2026-11-21T08:00:00Z"),
        ("PartiallyCompleted", "Incremental", "2026-11-21T08:00:00Z"),
        ("Unreachable", "Incremental", None),
        ("CredentialsRejected", "Incremental", None),
        ("Completed", "Check", None),
    ],
)
def test_only_a_run_that_has_stored_its_end_has_recorded_the_checks_of_its_plan(
    reason: str, mode: str, told: str | None
) -> None:
    found = result(reason)
    pod = PodFacts("p", "p-1", "Failed", exit_code=int(EXIT_CODES[found.reason]), message=found.model_dump_json())
    job = replace(JOB, checks_until="2026-11-21T08:00:00Z")
    decision = decide(RUNNING, {"mode": mode}, jobs={1: job}, pods={1: pod})
    status = next(action for action in decision.actions if isinstance(action, act.PatchStatus)).status
    assert status.get("checksRecordedUntil") == told
    gone = decide(RUNNING, {"mode": mode}, jobs={}, pods={1: pod})
    status = next(action for action in gone.actions if isinstance(action, act.PatchStatus)).status
    assert "checksRecordedUntil" not in status, "what its plan told is not known"


def test_counts_of_several_attempts_add_up() -> None:
    first = {**RUNNING, "attempts": 2, "streams": [{"name": "hosts", "read": 5, "upserted": 5, "checkpoint": "a"}]}
    decision = after("Completed", first, attempt=2, streams=[{"name": "hosts", "read": 3, "upserted": 1}])
    status = next(action for action in decision.actions if isinstance(action, act.PatchStatus)).status
    assert status["totals"]["read"] == 8
    assert status["streams"][0]["checkpoint"] == "a"


def test_streams_that_were_not_asked_for_are_not_believed() -> None:
    decision = after("Completed", streams=[{"name": "forged", "read": 10**9}])
    status = next(action for action in decision.actions if isinstance(action, act.PatchStatus)).status
    assert "streams" not in status
    assert "totals" not in status


def test_a_transient_failure_is_retried_and_the_cause_can_be_read() -> None:
    decision = after("Unreachable", message="cannot reach api.acme.example: connection refused")
    status = next(action for action in decision.actions if isinstance(action, act.PatchStatus)).status
    assert condition(decision)["reason"] == "Retrying"
    assert condition(decision, "Reconciling")["reason"] == "Unreachable"
    assert "failure 1 of 4" in condition(decision)["message"]
    assert status["nextAttemptTime"] == "2026-11-21T08:31:00Z"
    assert decision.look_again == NOW + timedelta(seconds=60)
    assert decision.slot is act.Slot.RELEASE


def test_after_the_last_attempt_the_cause_becomes_the_reason() -> None:
    decision = after("Unreachable", {**RUNNING, "attempts": 4, "failures": 3}, attempt=4)
    assert condition(decision)["reason"] == "Unreachable"
    assert "Given up after 4 attempts" in condition(decision)["message"]


def test_a_failed_check_names_no_counts() -> None:
    found = result("Completed")
    pod = PodFacts("p", "p-1", "Succeeded", exit_code=0, message=found.model_dump_json())
    decision = decide(RUNNING, {"mode": "Check"}, jobs={1: JOB}, pods={1: pod})
    assert condition(decision)["message"] == "The credentials are accepted and the system answers"


def test_after_the_end_only_the_newest_failed_job_stays() -> None:
    over = {**RUNNING, "attempts": 2, "completionTime": "2026-11-21T08:29:59Z"}
    failed = JobFacts("acme-prod-m-1-2", "j-2", NOW, {"Failed": ("BackoffLimitExceeded", "", NOW)})
    kept = decide(over, jobs={1: JOB, 2: failed}, keep_failed_job=True)
    assert [action.name for action in kept.actions if isinstance(action, act.DeleteJob)] == ["acme-prod-m-1-1"]
    gone = decide(over, jobs={2: failed}, keep_failed_job=False)
    assert kinds(gone) == ["DeleteJob"]
    still_active = decide(over, jobs={2: JobFacts("acme-prod-m-1-2", "j-2", NOW, {})}, keep_failed_job=True)
    assert kinds(still_active) == ["DeleteJob"], "an image that never comes must not run later"


def test_a_replaced_run_stops_its_job() -> None:
    decision = decide(RUNNING, jobs={1: JOB}, replaced_by="acme-prod-2")
    assert condition(decision)["reason"] == "Replaced"
    assert "DeleteJob" in kinds(decision)


def cancelled(status: dict[str, Any] | None, **facts: Any) -> act.Decision:
    subject = sync(status)
    subject.metadata["annotations"] = {"towline.dev/cancel": "true"}
    return decide(status, sync=subject, **facts)


def test_a_cancelled_run_stops_its_pod_and_counts_what_it_had_committed() -> None:
    alive = PodFacts("p", "p-1", "Running", running=True)
    stopping = cancelled(RUNNING, jobs={1: JOB}, pods={1: alive})
    assert kinds(stopping) == ["PatchStatus", "DeleteJob"]
    assert condition(stopping)["status"] == "Unknown"
    waiting = cancelled(RUNNING, pods={1: alive})
    assert waiting.actions == []
    assert waiting.look_again is not None
    left = result("Disrupted", streams=[{"name": "hosts", "read": 40, "upserted": 30}])
    words = PodFacts("p", "p-1", "Failed", exit_code=75, message=left.model_dump_json(), deleting_since=NOW)
    ended = cancelled(RUNNING, pods={1: words})
    assert (condition(ended)["status"], condition(ended)["reason"]) == ("False", "Cancelled")
    assert "what it wrote stays: 30 new or changed of 40 read" in condition(ended)["message"]
    assert [one.reason for one in ended.actions if isinstance(one, act.Emit)] == ["SyncCancelled"]


def test_a_run_that_waits_is_cancelled_at_once_and_a_finished_one_stays_what_it_is() -> None:
    assert condition(cancelled(None))["reason"] == "Cancelled"
    retrying = {"attempts": 1, "failures": 1, "nextAttemptTime": "2026-11-21T09:00:00Z"}
    assert condition(cancelled(retrying, jobs={1: JOB}))["reason"] == "Cancelled"
    done = PodFacts("p", "p-1", "Succeeded", exit_code=0, message=result().model_dump_json())
    assert condition(cancelled(RUNNING, jobs={1: JOB}, pods={1: done}))["reason"] == "Completed"
    assert kinds(cancelled({"attempts": 1, "completionTime": "2026-11-21T08:00:00Z"})) == []


def test_a_pod_on_a_lost_node_does_not_hold_up_cancelling() -> None:
    lost = PodFacts("p", "p-1", "Running", running=True, deleting_since=NOW - timedelta(minutes=5))
    assert condition(cancelled(RUNNING, pods={1: lost}))["reason"] == "Cancelled"


def test_cancel_false_cancels_nothing() -> None:
    subject = sync(None)
    subject.metadata["annotations"] = {"towline.dev/cancel": "false"}
    assert "CreateJob" in kinds(decide(sync=subject))


def test_an_object_that_is_being_deleted_is_left_alone() -> None:
    subject = sync(RUNNING)
    subject.metadata["deletionTimestamp"] = "2026-11-21T08:29:59Z"
    assert reconcile_sync(SyncSnapshot(sync=subject), NOW, SETTINGS).actions == []


def running_world() -> World:
    made = world(schedule=None)
    made.integration["metadata"]["annotations"] = {"towline.dev/requested-at": "go"}
    made.secret = SecretFacts("s-1/1", {"client_id", "client_secret"})
    made.settle()
    return made


ENDS = st.sampled_from(["Completed", "Unreachable", "RateLimited", "DestinationFull", "disrupted", "oom", "lost"])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ENDS, st.one_of(st.none(), st.integers(0, 5))), min_size=1, max_size=30))
def test_attempts_never_overlap_and_always_end_wherever_the_operator_dies(
    story: list[tuple[str, int | None]],
) -> None:
    made = running_world()
    name = made.created[0]
    for how, crash in story:
        status = made.syncs[name]["status"]
        if "completionTime" in status:
            break
        attempt = status["attempts"]
        made.end(f"{name}-{attempt}", _end(made, name, attempt, how))
        made.crash_in = crash
        for _ in range(3):
            try:
                made.settle(rounds=20)
                break
            except CrashError:
                continue
        made.crash_in = None
        made.pass_time(hours=2)
        made.settle(rounds=20)
    assert made.job_names == [f"{name}-{number + 1}" for number in range(len(made.job_names))], "each attempt once"
    status = made.syncs[name]["status"]
    counted = [how for how, _ in story[: status["attempts"]] if how not in ("Completed", "disrupted")]
    assert status.get("failures", 0) <= 4
    if "completionTime" in status:
        assert status["conditions"][0]["status"] in ("True", "False")
    elif len(story) >= status["attempts"]:
        assert status.get("failures", 0) == min(len(counted), 4)


def _end(made: World, name: str, attempt: int, how: str) -> PodFacts:
    if how == "disrupted":
        return PodFacts("p", "p-1", "Failed", gone=True, disruption="EvictionByEvictionAPI")
    if how == "oom":
        return PodFacts("p", "p-1", "Failed", exit_code=137, ended_by="OOMKilled")
    if how == "lost":
        return PodFacts("p", "p-1", "Failed", exit_code=1)
    found = result(how, sync_uid=made.syncs[name]["metadata"]["uid"], attempt=attempt)
    code = int(EXIT_CODES[found.reason])
    return PodFacts("p", "p-1", "Failed" if code else "Succeeded", exit_code=code, message=found.model_dump_json())


@pytest.mark.parametrize("crash", range(6))
def test_a_crash_while_starting_makes_one_job(crash: int) -> None:
    made = world(schedule=None)
    made.integration["metadata"]["annotations"] = {"towline.dev/requested-at": "go"}
    made.crash_in = crash
    try:
        made.settle()
    except CrashError:
        made.settle()
    assert made.job_names == [f"{made.created[0]}-1"]
