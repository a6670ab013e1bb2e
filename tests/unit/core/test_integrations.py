"""An Integration's life: first sync, schedule, requests, failures and their cures, history, status."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.core.build import NOW, around, connector, integration, secret, view
from tests.unit.core.world import CrashError, World

from towline.api.conditions import Reason
from towline.core import actions as act
from towline.core.checks import heard
from towline.core.health import Probed, State, Track
from towline.core.integrations import reconcile_integration
from towline.core.planner import IntegrationSnapshot
from towline.core.times import moment, text


def world(now: datetime = NOW, **spec: Any) -> World:
    subject = integration(**spec)
    return World(now, subject.model_dump(mode="json", by_alias=True, exclude_none=True), secret())


def hourly(**more: Any) -> World:
    made = world(schedule={"cron": "0 * * * *", "immediate": False, **more})
    made.settle()
    return made


def test_a_new_integration_syncs_at_once_and_says_so() -> None:
    made = world()
    made.settle()
    assert len(made.created) == 1
    assert made.ready() == ("True", "AwaitingFirstSync")
    assert made.integration["status"]["active"] == [{"name": made.created[0]}]
    made.finish(made.created[0])
    made.settle()
    assert made.ready() == ("True", "Synced")
    assert "active" not in made.integration["status"]
    assert len(made.created) == 1


def test_the_first_tick_of_an_interval_does_not_follow_the_first_sync_within_seconds() -> None:
    made = world(now=NOW - timedelta(seconds=3))
    made.settle()
    assert len(made.created) == 1
    assert made.integration["status"]["nextScheduleTime"] == text(NOW + timedelta(minutes=30)), "not in three seconds"
    del made.integration["status"]
    made.settle()
    assert made.integration["status"]["nextScheduleTime"] == text(NOW + timedelta(minutes=30)), "nor after a restore"
    later = world(now=NOW - timedelta(minutes=16))
    later.settle()
    assert later.integration["status"]["nextScheduleTime"] == text(NOW)


def test_a_first_sync_that_was_deleted_does_not_come_back() -> None:
    made = world()
    made.settle()
    made.syncs.clear()
    made.settle()
    assert len(made.created) == 1


def test_without_a_schedule_nothing_starts_by_itself() -> None:
    made = world(schedule=None)
    assert made.settle() is None
    assert made.created == []


def test_a_due_tick_makes_one_syncjob_named_after_it() -> None:
    made = hourly()
    assert made.integration["status"]["nextScheduleTime"] == "2026-11-21T09:00:00Z"
    made.pass_time(minutes=31)
    made.settle()
    assert made.created == ["acme-prod-20261121t090000z"]
    assert made.syncs[made.created[0]]["spec"] == {
        "integrationRef": {"name": "acme-prod"},
        "trigger": "Schedule",
        "scheduledTime": "2026-11-21T09:00:00Z",
    }
    assert made.integration["status"]["lastScheduleTime"] == "2026-11-21T09:00:00Z"
    assert made.integration["status"]["nextScheduleTime"] == "2026-11-21T10:00:00Z"


def test_after_downtime_the_newest_tick_runs_once_and_the_rest_is_counted() -> None:
    made = hourly()
    made.pass_time(hours=10)
    made.settle()
    assert made.created == ["acme-prod-20261121t180000z"]
    assert made.integration["status"]["missedSchedules"] == 9
    assert "SyncSlotMissed" in [event.reason for event in made.events]


def test_a_tick_during_a_run_is_left_out_with_an_event() -> None:
    made = hourly()
    made.pass_time(minutes=31)
    made.settle()
    made.pass_time(hours=1)
    made.settle()
    assert len(made.created) == 1
    assert made.integration["status"]["missedSchedules"] == 1
    assert [event.reason for event in made.events].count("SyncSkippedConcurrent") == 1


def test_with_replace_the_new_run_takes_the_place_of_the_old_one() -> None:
    made = world(schedule={"cron": "0 * * * *", "immediate": False}, concurrencyPolicy="Replace")
    made.settle()
    made.pass_time(minutes=31)
    made.settle()
    made.pass_time(hours=1)
    made.settle()
    old, new = made.created
    assert made.syncs[old]["status"]["conditions"][0]["reason"] == "Replaced"
    assert "completionTime" not in made.syncs[new]["status"]
    assert list(made.jobs) == [f"{new}-1"]
    made.settle()
    assert made.integration["status"]["consecutiveFailures"] == 0


def test_while_suspended_nothing_starts_and_ticks_are_not_made_up_for() -> None:
    made = hourly()
    made.integration["spec"]["suspend"] = True
    made.pass_time(hours=5)
    assert made.settle() is None
    assert made.created == []
    assert "nextScheduleTime" not in made.integration["status"]
    made.integration["spec"]["suspend"] = False
    made.settle()
    assert made.created == []
    assert "missedSchedules" not in made.integration["status"]
    assert [event.reason for event in made.events] == ["Suspended", "Resumed"]
    assert made.ready() == ("True", "AwaitingFirstSync")


def test_another_schedule_does_not_make_up_for_ticks_of_its_own_past() -> None:
    made = hourly()
    made.integration["spec"]["schedule"]["cron"] = "15 8 * * *"
    made.integration["metadata"]["generation"] = 2
    made.settle()
    assert made.created == []
    assert made.integration["status"]["nextScheduleTime"] == "2026-11-22T08:15:00Z"


def test_a_new_request_runs_once_and_is_remembered() -> None:
    made = hourly()
    made.integration["metadata"]["annotations"] = {"towline.dev/requested-at": "t1"}
    made.settle()
    assert len(made.created) == 1
    assert made.syncs[made.created[0]]["spec"]["trigger"] == "Manual"
    assert made.integration["status"]["lastHandledRequestedAt"] == "t1"
    made.finish(made.created[0])
    made.syncs.clear()
    made.settle()
    assert len(made.created) == 1


def test_a_request_with_the_same_token_in_full_at_reads_everything() -> None:
    made = hourly()
    made.integration["metadata"]["annotations"] = {"towline.dev/requested-at": "t", "towline.dev/full-at": "t"}
    made.settle()
    assert made.syncs[made.created[0]]["spec"]["mode"] == "Full"


def test_a_request_while_suspended_waits_for_the_end_of_it() -> None:
    made = hourly()
    made.integration["spec"]["suspend"] = True
    made.integration["metadata"]["annotations"] = {"towline.dev/requested-at": "t1"}
    made.settle()
    assert made.created == []
    made.integration["spec"]["suspend"] = False
    made.settle()
    assert len(made.created) == 1


def test_one_or_two_failures_leave_it_ready_the_third_does_not() -> None:
    made = hourly()
    for expected in [("True", "AwaitingFirstSync"), ("True", "AwaitingFirstSync"), ("False", "SyncFailed")]:
        made.pass_time(hours=1)
        made.settle()
        made.finish(made.created[-1], succeeded=False, reason="Unreachable")
        made.settle()
        assert made.ready() == expected
    assert made.condition("Stalled")["status"] == ""
    assert made.condition("Healthy")["reason"] == "Unreachable"
    made.pass_time(hours=1)
    made.settle()
    made.finish(made.created[-1])
    made.settle()
    assert made.ready() == ("True", "Synced")
    assert made.events[-1].reason == "Recovered"


def rejected() -> World:
    made = world(schedule={"cron": "0 * * * *"})
    made.settle()
    made.finish(made.created[0], succeeded=False, reason="CredentialsRejected")
    made.settle()
    return made


def test_rejected_credentials_stop_everything_until_something_changes() -> None:
    made = rejected()
    assert made.ready() == ("False", "CredentialsRejected")
    assert made.condition("Stalled")["status"] == "True"
    assert made.condition("CredentialsValid")["reason"] == "Rejected"
    made.pass_time(days=2)
    made.settle()
    assert len(made.created) == 1
    assert "nextScheduleTime" not in made.integration["status"]


def test_a_new_version_of_the_secret_is_tried_once_at_once() -> None:
    made = rejected()
    made.secret = replace(made.secret, version="s-1/2")
    made.settle()
    assert len(made.created) == 2
    assert made.syncs[made.created[1]]["spec"]["trigger"] == "CredentialsRotated"
    made.finish(made.created[1], succeeded=False, reason="CredentialsRejected")
    made.pass_time(days=1)
    made.settle()
    assert len(made.created) == 2


def test_where_there_is_a_probe_new_credentials_pass_it_before_a_sync_tries_them() -> None:
    made = rejected()
    made.secret = replace(made.secret, version="s-1/2")
    made.health = Track(tested="s-1/1", refused="s-1/1")
    made.settle()
    assert len(made.created) == 1
    made.health = Track(tested="s-1/2", refused="s-1/2")
    made.settle()
    assert len(made.created) == 1
    assert made.ready() == ("False", "CredentialsRejected")
    made.health = Track(tested="s-1/2")
    made.settle()
    assert len(made.created) == 2


def test_rotated_credentials_are_checked_before_a_sync_needs_them() -> None:
    made = world(schedule={"cron": "0 3 * * *"})
    made.settle()
    made.finish(made.created[0])
    made.settle()
    made.secret = replace(made.secret, version="s-1/2")
    made.settle()
    check = made.syncs[made.created[-1]]
    assert (check["spec"]["trigger"], check["spec"]["mode"]) == ("CredentialsRotated", "Check")
    made.finish(made.created[-1], succeeded=False, reason="CredentialsRejected")
    made.settle()
    assert made.ready() == ("False", "CredentialsRejected")
    made.pass_time(hours=30)
    made.settle()
    assert len(made.created) == 2, "rejected once, and nobody is locked out"
    made.secret = replace(made.secret, version="s-1/3")
    made.settle()
    made.finish(made.created[-1])
    made.settle()
    assert made.ready() == ("True", "Synced")
    assert len(made.created) == 3


def test_where_the_operator_probes_itself_a_rotation_needs_no_run() -> None:
    made = world(schedule={"cron": "0 3 * * *"})
    made.health = Track(State.HEALTHY, made.now)
    made.settle()
    made.finish(made.created[0])
    made.secret = replace(made.secret, version="s-1/2")
    made.settle()
    assert len(made.created) == 1


def test_a_rotation_and_a_deprecated_connector_are_told() -> None:
    subject = integration(status={"observedGeneration": 1})
    facts = around(connector=connector(stage="Deprecated"))

    def told(generation: int, rotated: bool) -> list[str]:
        fresh = integration(status={"observedGeneration": 1}, generation=generation)
        snapshot = IntegrationSnapshot(fresh, view(subject), facts, rotated=rotated)
        return [one.reason for one in reconcile_integration(snapshot, NOW).actions if isinstance(one, act.Emit)]

    assert "CredentialsRotated" in told(1, rotated=True)
    assert "ConnectorDeprecated" not in told(1, rotated=False)
    assert "CredentialsRotated" not in told(1, rotated=False)
    assert "ConnectorDeprecated" in told(2, rotated=False)


def test_a_changed_spec_is_tried_once_at_once() -> None:
    made = rejected()
    made.integration["metadata"]["generation"] = 2
    made.settle()
    assert made.syncs[made.created[1]]["spec"]["trigger"] == "SpecChange"
    made.finish(made.created[1])
    made.settle()
    assert made.ready() == ("True", "Synced")
    assert made.condition("CredentialsValid")["reason"] == "Accepted"


def test_rejected_credentials_may_be_tried_again_on_request() -> None:
    made = rejected()
    made.integration["metadata"]["annotations"] = {"towline.dev/requested-at": "again"}
    made.settle()
    assert made.syncs[made.created[1]]["spec"]["trigger"] == "Manual"


def test_the_stop_is_remembered_when_the_run_is_gone() -> None:
    made = rejected()
    made.syncs.clear()
    made.pass_time(days=1)
    made.settle()
    assert len(made.created) == 1
    assert made.ready() == ("False", "CredentialsRejected")


def test_a_tripped_guard_waits_for_a_person_not_for_a_secret() -> None:
    made = world(schedule={"cron": "0 * * * *"})
    made.settle()
    made.finish(made.created[0], succeeded=False, reason="PolicyViolation")
    made.settle()
    assert made.ready() == ("False", "PolicyViolation")
    made.secret = replace(made.secret, version="s-1/2")
    made.pass_time(days=1)
    made.settle()
    assert len(made.created) == 1
    made.integration["metadata"]["annotations"] = {"towline.dev/requested-at": "looked into it"}
    made.settle()
    assert len(made.created) == 2


def test_a_connectors_bug_is_tried_again_at_the_next_tick() -> None:
    made = hourly()
    made.pass_time(hours=1)
    made.settle()
    made.finish(made.created[0], succeeded=False, reason="ConnectorBug")
    made.pass_time(hours=1)
    made.settle()
    assert len(made.created) == 2


def test_a_problem_stalls_it_and_its_cure_recovers_it() -> None:
    made = hourly()
    made.secret = replace(made.secret, keys={"client_id"})
    made.integration["metadata"]["creationTimestamp"] = "2026-11-20T08:00:00Z"
    made.settle()
    assert made.ready() == ("False", "KeyMissing")
    assert made.condition("Stalled")["reason"] == "KeyMissing"
    assert made.events[-1].type == "Warning"
    made.pass_time(hours=7)
    made.settle()
    assert made.created == []
    made.secret = secret()
    made.settle()
    assert made.ready() == ("True", "AwaitingFirstSync")
    assert made.condition("Stalled")["status"] == ""
    assert "missedSchedules" not in made.integration["status"]


def test_history_keeps_the_newest_runs_of_each_kind() -> None:
    made = hourly()
    for number in range(12):
        made.pass_time(hours=1)
        made.settle()
        made.finish(
            made.created[-1], succeeded=number % 2 == 0, reason="Completed" if number % 2 == 0 else "ConnectorBug"
        )
        made.settle()
    kept = [(name, sync["status"]["conditions"][0]["status"]) for name, sync in made.syncs.items()]
    assert [name for name, _ in kept] == made.created[-6:]


def test_history_never_takes_what_the_operator_did_not_make() -> None:
    made = world(schedule=None, successfulSyncsHistoryLimit=0)
    by_hand = {
        "metadata": {"name": "by-hand", "uid": "x", "creationTimestamp": "2026-11-21T08:00:00Z"},
        "spec": {"integrationRef": {"name": "acme-prod"}},
    }
    made.syncs["by-hand"] = by_hand
    made.finish("by-hand")
    made.settle()
    assert "by-hand" in made.syncs


def test_streams_mirror_their_checkpoints_and_full_reads() -> None:
    made = world(schedule=None)
    made.integration["metadata"]["annotations"] = {"towline.dev/requested-at": "1"}
    made.settle()
    streams = [
        {"name": "hosts", "read": 5, "upserted": 5, "checkpoint": "c1", "full": True},
        {"name": "alerts", "skipped": "no permission"},
    ]
    made.finish(made.created[0], streams=streams)
    made.settle()
    hosts, alerts = made.integration["status"]["streams"]
    assert hosts == {
        "name": "hosts",
        "lastSuccessfulTime": "2026-11-21T08:30:01Z",
        "lastFullTime": "2026-11-21T08:30:01Z",
        "checkpoint": "c1",
    }
    assert alerts == {"name": "alerts"}


def test_data_goes_stale_after_three_ticks() -> None:
    made = hourly()
    made.pass_time(minutes=30)
    made.settle()
    made.finish(made.created[0])
    made.settle()
    assert made.condition("Fresh")["status"] == "True"
    made.pass_time(hours=1)
    made.settle()  # the next run starts and never ends
    made.pass_time(hours=3)
    made.settle()
    assert made.condition("Fresh")["reason"] == "Stale"


def test_conditions_keep_the_time_of_their_last_real_change() -> None:
    made = hourly()
    since = made.condition("Ready")["lastTransitionTime"]
    made.pass_time(hours=3)
    made.settle()
    made.finish(made.created[-1])
    made.settle()
    assert made.condition("Ready")["lastTransitionTime"] == since
    assert made.condition("Ready")["observedGeneration"] == 1


def test_a_reconciling_condition_is_never_left_behind() -> None:
    made = rejected()
    assert made.condition("Reconciling")["status"] == ""


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("pass"), st.integers(1, 400)),
        st.tuples(st.just("crash"), st.integers(0, 6)),
        st.tuples(st.just("finish"), st.sampled_from(["Completed", "Unreachable", "ConnectorBug"])),
        st.tuples(st.just("look"), st.just(0)),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(STEPS, st.sampled_from([None, 60, 1800]))
def test_no_tick_is_lost_and_none_runs_twice_wherever_the_operator_dies(
    steps: list[tuple[str, Any]], deadline: int | None
) -> None:
    schedule: dict[str, Any] = {"cron": "*/20 * * * *", "immediate": False}
    if deadline:
        schedule["startingDeadlineSeconds"] = deadline
    made = world(schedule=schedule)
    made.settle()
    first = moment(made.integration["status"]["nextScheduleTime"])
    assert first is not None
    for what, amount in steps:
        if what == "pass":
            made.pass_time(minutes=amount)
        elif what == "crash":
            made.crash_in = amount
        elif what == "finish":
            for name in [name for name, sync in made.syncs.items() if "completionTime" not in sync.get("status", {})]:
                made.finish(name, succeeded=amount == "Completed", reason=amount)
        try:
            made.settle(rounds=20)
        except CrashError:
            continue
    made.crash_in = None
    made.settle(rounds=20)
    assert len(made.created) == len(set(made.created)), "a tick ran twice"
    ticks = 0
    tick = first
    while tick <= made.now:
        ticks += 1
        tick += timedelta(minutes=20)
    missed = made.integration["status"].get("missedSchedules", 0)
    assert len(made.created) + missed == ticks


@pytest.mark.parametrize("crash", range(8))
def test_a_crash_at_any_action_of_a_request_runs_it_once(crash: int) -> None:
    made = hourly()
    made.integration["metadata"]["annotations"] = {"towline.dev/requested-at": "once"}
    made.crash_in = crash
    try:
        made.settle()
    except CrashError:
        made.settle()
    assert len(made.created) == 1
    assert len(made.job_names) == 1


def test_what_a_run_has_recorded_leaves_the_status_with_the_write_that_tells_its_end() -> None:
    made = world()
    made.settle()
    for minute, reason in enumerate([Reason.REACHABLE, Reason.CREDENTIALS_REJECTED, Reason.REACHABLE]):
        made.checks = heard(made.checks, Probed(made.now + timedelta(minutes=minute), reason))
    made.settle()
    told = made.integration["status"]["checks"]
    assert [one["outcome"] for one in told["unrecorded"]] == ["Reachable", "CredentialsRejected"]
    writes = made.writes
    made.finish(made.created[0], checksRecordedUntil=told["since"])
    made.step_integration()
    made.step_integration()
    assert made.writes == writes + 1
    assert made.integration["status"]["checks"] == {"outcome": "Reachable", "since": told["since"], "recorded": True}
