"""Who asked for a run, who changed what, and how it ended: in the plan of the run and in the operator's log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.api.acme import SELDOM, ready
from tests.api.operator_process import Cluster, OperatorProcess, until

from towline.contract import PLAN_ANNOTATION, Plan
from towline.core import names

pytestmark = pytest.mark.api


def lines(log: Path, **wanted: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in log.read_text().splitlines() if line.startswith('{"activity"')]
    return [line for line in found if all(line.get(key) == value for key, value in wanted.items())]


def plan_of(cluster: Cluster, job: str) -> Plan:
    return Plan.model_validate_json(cluster.wait_pod(job).metadata.annotations[PLAN_ANNOTATION])


def test_a_run_knows_who_asked_and_what_happened_before_it(
    operator: OperatorProcess, cluster: Cluster, acme: str, tmp_path: Path
) -> None:  # fmt: skip
    first = ready(cluster, acme)
    origin = plan_of(cluster, f"{first['metadata']['name']}-1").sync.origin
    changed = {entry.object: entry for entry in origin.seen if entry.kind == "Change"}
    assert set(changed) == {"Integration/acme", f"Connector/{acme}", "Secret/acme-api"}
    assert changed["Integration/acme"].actor, "the API server names the tool that wrote it"
    assert changed["Integration/acme"].trigger == "Created"
    cluster.end_pod(first, streams=[{"name": "hosts", "read": 10}], http={"2xx": 2})
    cluster.wait_reason("integrations", "acme", "Synced")

    manager = "towline-cli"
    body = {"metadata": {"annotations": {"towline.dev/requested-at": "t-1", "towline.dev/requested-by": "anna"}}}
    cluster.objects.patch_namespaced_custom_object(
        "towline.dev", "v1alpha1", cluster.namespace, "integrations", "acme", body, field_manager=manager
    )
    asked = cluster.wait_sync("acme")
    assert asked["metadata"]["name"] == names.requested("acme", "t-1")
    origin = plan_of(cluster, f"{asked['metadata']['name']}-1").sync.origin
    assert (origin.trigger, origin.actor, origin.keep_days) == ("Manual", "anna (towline-cli)", 90)
    (before,) = [entry for entry in origin.seen if entry.kind == "Run"]
    assert before.id == f"run/{first['metadata']['uid']}/1"
    assert (before.outcome, before.records) == ("Completed", 10)

    where = f"{cluster.namespace}/acme"
    (run,) = until("the run's line", lambda: lines(operator.log, activity="Run", integration=where))
    assert (run["outcome"], run["records"], run["calls"]) == ("Completed", 10, 2)
    assert lines(operator.log, activity="Change", integration=where, object="Integration/acme")
    cluster.patch("integrations", "acme", {"spec": {"suspend": True}})
    generations = until(
        "the second change", lambda: [one["detail"]["generation"] for one in lines(operator.log, activity="Change",
                                                                                   integration=where)][1:])  # fmt: skip
    assert generations == [2]
    assert "hunter2" not in operator.log.read_text()


def test_ends_that_no_run_could_record_outlive_their_syncjobs(cluster: Cluster, acme: str) -> None:
    """The destination is away for longer than failed SyncJobs are kept."""
    sync = ready(cluster, acme, f"{SELDOM}\n  retry: {{maxAttempts: 1}}\n  failedSyncsHistoryLimit: 1")
    syncs = [sync["metadata"]["name"]]

    def status() -> dict[str, Any]:
        found: dict[str, Any] = cluster.get("integrations", "acme")["status"]
        return found

    def another() -> dict[str, Any]:
        until("the end to be told", lambda: (status().get("lastSync") or {}).get("name") == syncs[-1])
        token = {"metadata": {"annotations": {"towline.dev/requested-at": f"again-{len(syncs)}"}}}
        cluster.patch("integrations", "acme", token)
        found = cluster.wait_sync("acme")
        syncs.append(found["metadata"]["name"])
        return found

    cluster.end_pod(sync, "DestinationUnavailable")
    for _ in range(3):
        cluster.end_pod(another(), "DestinationUnavailable")
    entries = until("two of one kind to be gone", lambda: [
        one for one in status().get("syncEnds", {}).get("unrecorded", []) if one["count"] == 2
    ])  # fmt: skip
    assert (entries[0]["first"], entries[0]["trigger"]) == (syncs[1], "Manual")
    until("the failed ones to go", lambda: [one["metadata"]["name"] for one in cluster.syncs("acme")] == syncs[3:])
    last = cluster.get("syncjobs", syncs[3])["status"]
    assert last["activityRecorded"] == "Nothing"
    until("the next second", lambda: f"{datetime.now(UTC):%FT%TZ}" > last["completionTime"])

    sync = another()
    seen = plan_of(cluster, f"{syncs[-1]}-1").sync.origin.seen
    told = sorted((entry.object, entry.detail.get("count")) for entry in seen if entry.kind == "Run")
    once = sorted([f"SyncJob/{syncs[0]}", f"SyncJob/{syncs[3]}"])  # all of them may have begun in one second
    assert told == [("Integration/acme", 2), *((each, None) for each in once)]
    cluster.end_pod(sync, streams=[{"name": "hosts", "read": 1}])
    until("the status to forget", lambda: status().get("syncEnds") == {"recordedUntil": last["completionTime"]})
