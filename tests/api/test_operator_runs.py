"""What starts runs and what ends them: requests, schedules, limits, deletions, and an operator that was away."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.api.acme import integration, metric, ready, request, secret, value
from tests.api.operator_process import Cluster, OperatorProcess, until

pytestmark = [pytest.mark.api, pytest.mark.usefixtures("operator")]


def test_a_request_by_annotation_runs_once(cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more="suspend: false"))
    cluster.wait_reason("integrations", "acme", "AwaitingFirstSync")
    assert not cluster.syncs()
    request(cluster, "one", **{"full-at": "one"})
    first = cluster.wait_sync("acme")
    assert (first["spec"]["trigger"], first["spec"]["mode"]) == ("Manual", "Full")
    until(
        "it is remembered", lambda: cluster.get("integrations", "acme")["status"].get("lastHandledRequestedAt") == "one"
    )
    # Of two that wait for one probe of the credentials, made in one second, either may go first.
    cluster.wait_pod(f"{first['metadata']['name']}-1")
    request(cluster, "two")
    second = cluster.wait_sync("acme")
    condition = cluster.wait_reason("syncjobs", second["metadata"]["name"], "Queued")
    assert first["metadata"]["name"] in condition["message"]
    cluster.end_pod(first)
    cluster.wait_pod(f"{second['metadata']['name']}-1")
    cluster.end_pod(second)
    cluster.wait_reason("syncjobs", second["metadata"]["name"], "Completed")
    assert len(cluster.syncs()) == 2


def test_a_syncjob_made_by_hand_runs_and_stays(cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more="successfulSyncsHistoryLimit: 0"))
    cluster.apply(
        "apiVersion: towline.dev/v1alpha1\nkind: SyncJob\nmetadata: {name: by-hand}\n"
        "spec: {integrationRef: {name: acme}, mode: Check}"
    )
    cluster.end_pod(cluster.get("syncjobs", "by-hand"))
    cluster.wait_reason("syncjobs", "by-hand", "Completed")
    cluster.apply(
        "apiVersion: towline.dev/v1alpha1\nkind: SyncJob\nmetadata: {name: wrong-stream}\n"
        "spec: {integrationRef: {name: acme}, streams: [nothing]}"
    )
    assert "nothing" in cluster.wait_reason("syncjobs", "wrong-stream", "ConfigInvalid")["message"]
    assert cluster.get("syncjobs", "by-hand")


def test_suspend_stops_new_runs_and_not_the_running_one(cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    cluster.patch("integrations", "acme", {"spec": {"suspend": True}})
    until("suspended", lambda: "nextScheduleTime" not in cluster.get("integrations", "acme")["status"])
    request(cluster, "while-suspended")
    cluster.end_pod(sync)
    cluster.wait_reason("integrations", "acme", "Synced")
    assert len(cluster.syncs()) == 1
    cluster.patch("integrations", "acme", {"spec": {"suspend": False}})
    assert cluster.wait_sync("acme")["spec"]["trigger"] == "Manual"


def test_history_keeps_what_the_limits_say(cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more="successfulSyncsHistoryLimit: 1"))
    names = []
    for number in range(3):
        request(cluster, f"token-{number}")
        sync = cluster.wait_sync("acme")
        names.append(sync["metadata"]["name"])
        cluster.end_pod(sync)
        cluster.wait_reason("syncjobs", names[-1], "Completed")
    until("one stays", lambda: [one["metadata"]["name"] for one in cluster.syncs()] == names[-1:])


def test_no_more_syncs_run_than_the_limit_allows(operator: OperatorProcess, cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    until("runs of tests before have gone", lambda: value(operator, "towline_sync_active") == 0)
    free = int(value(operator, "towline_sync_limit"))
    for number in range(free + 1):
        cluster.apply(integration(acme, name=f"acme-{number}"))
    until("all syncs", lambda: len(cluster.syncs()) == free + 1)
    until("as many run as may", lambda: len(cluster.jobs()) == free)

    def queued() -> list[dict[str, Any]]:
        reasons = {one["metadata"]["name"]: one.get("status", {}).get("conditions", [{}])[0] for one in cluster.syncs()}
        return [one for one in cluster.syncs() if reasons[one["metadata"]["name"]].get("reason") == "Queued"]

    waiting = until("one is queued", queued)
    assert len(waiting) == 1
    assert value(operator, "towline_sync_active") == value(operator, "towline_sync_limit")
    running = next(one for one in cluster.syncs() if one["metadata"]["name"] != waiting[0]["metadata"]["name"])
    cluster.end_pod(running)
    cluster.wait_pod(f"{waiting[0]['metadata']['name']}-1")


def test_deleting_an_integration_takes_its_runs_along(operator: OperatorProcess, cluster: Cluster, acme: str) -> None:
    ready(cluster, acme)
    cluster.objects.delete_namespaced_custom_object(
        "towline.dev", "v1alpha1", cluster.namespace, "integrations", "acme"
    )
    until("no SyncJob stays", lambda: not cluster.syncs())
    until("no Job stays", lambda: not cluster.jobs())
    until("no metric stays", lambda: not metric(operator, f'namespace="{cluster.namespace}"'))
    assert cluster.core.read_namespaced_persistent_volume_claim("towline-data", cluster.namespace), "the data stays"


def test_deleting_a_syncjob_stops_its_job(cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    cluster.objects.delete_namespaced_custom_object(
        "towline.dev", "v1alpha1", cluster.namespace, "syncjobs", sync["metadata"]["name"]
    )
    until("no Job stays", lambda: not cluster.jobs())
    time.sleep(1)
    assert not cluster.syncs(), "what a person deleted does not come back"


def test_a_killed_operator_loses_and_doubles_nothing(operator: OperatorProcess, cluster: Cluster, acme: str) -> None:
    sync = ready(cluster, acme)
    name = sync["metadata"]["name"]
    operator.kill()
    cluster.end_pod(sync, streams=[{"name": "hosts", "read": 3, "upserted": 3}])
    operator.start()
    cluster.wait_reason("syncjobs", name, "Completed")
    cluster.wait_reason("integrations", "acme", "Synced")
    assert [one["metadata"]["name"] for one in cluster.syncs()] == [name]
    assert cluster.get("syncjobs", name)["status"]["attempts"] == 1


def test_a_tick_that_came_while_the_operator_was_down_runs_once(
    operator: OperatorProcess, cluster: Cluster, acme: str
) -> None:
    cluster.apply(secret())
    now = datetime.now(UTC)
    newest = now.replace(second=0, microsecond=0) - timedelta(minutes=30)  # and the next one as far away
    cluster.apply(integration(acme, more=f'schedule: {{cron: "{newest.minute} * * * *", immediate: false}}'))
    until("planned", lambda: cluster.get("integrations", "acme").get("status", {}).get("nextScheduleTime"))
    operator.kill()
    body = {"status": {"nextScheduleTime": f"{newest - timedelta(hours=5):%Y-%m-%dT%H:%M:%SZ}"}}
    cluster.objects.patch_namespaced_custom_object_status(
        "towline.dev", "v1alpha1", cluster.namespace, "integrations", "acme", body
    )
    operator.start()
    sync = cluster.wait_sync("acme")
    assert sync["metadata"]["name"] == f"acme-{newest:%Y%m%dt%H%M%Sz}"
    status = until("counted", lambda: _counted(cluster))
    assert status["missedSchedules"] == 5
    assert len(cluster.syncs()) == 1


def _counted(cluster: Cluster) -> dict[str, Any]:
    status = cluster.get("integrations", "acme")["status"]
    return dict(status) if "missedSchedules" in status else {}


def test_a_schedule_starts_a_sync_when_its_time_has_come(cluster: Cluster, acme: str) -> None:
    cluster.apply(secret())
    cluster.apply(integration(acme, more='schedule: {cron: "* * * * *", immediate: false}'))
    sync = until("the next full minute", lambda: cluster.syncs("acme"), 150)[0]
    assert sync["spec"]["trigger"] == "Schedule"
    assert sync["spec"]["scheduledTime"].endswith(":00Z")
