"""Limits per namespace and per Connector, places in the queue, and Jobs that a queue of the cluster holds back."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client
from tests.api.acme import CONNECTOR, integration, secret
from tests.api.client import Api
from tests.api.operator_process import Cluster, OperatorProcess, container, until

pytestmark = pytest.mark.api
OPTIONS = (
    "--no-bundled",
    "--max-active-syncs=3",
    "--max-active-per-namespace=1",
    "--secret-recheck=1",
    "--resync=3600",
)


@pytest.fixture(scope="module")
def operator(control_plane: Path, api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorProcess]:
    process = OperatorProcess(control_plane, tmp_path_factory.mktemp("limits") / "log", OPTIONS)
    process.start()
    yield process
    process.stop_if_running()


@pytest.fixture
def clusters(operator: OperatorProcess, api: Api) -> Iterator[tuple[Cluster, Cluster]]:
    """Two namespaces, with the Connector `acme-…` of the first one's list."""
    made = []
    for _ in range(2):
        name = f"limits-{uuid.uuid4().hex[:8]}"
        api.core.create_namespace({"metadata": {"name": name}})
        made.append(Cluster(api.objects, api.core, client.BatchV1Api(api.core.api_client), name))
    made[0].apply(CONNECTOR % (f"acme-{uuid.uuid4().hex[:6]}", ""))
    for one in made:
        one.apply(secret())
    yield made[0], made[1]
    for one in made:
        one.remove()


def by_hand(cluster: Cluster, name: str, of: str) -> dict[str, Any]:
    cluster.apply(
        f"apiVersion: towline.dev/v1alpha1\nkind: SyncJob\nmetadata: {{name: {name}}}\n"
        f"spec: {{integrationRef: {{name: {of}}}}}"
    )
    return cluster.get("syncjobs", name)


def queued(cluster: Cluster, name: str) -> str:
    found = cluster.wait_reason("syncjobs", name, "Queued")
    return str(found["message"])


def test_a_full_namespace_waits_and_another_one_does_not(clusters: tuple[Cluster, Cluster]) -> None:
    one, two = clusters
    connector = one.connectors[0]
    for cluster in clusters:
        for name in ("a", "b", "c"):
            cluster.apply(integration(connector, name=name, more="suspend: false"))
            cluster.wait_reason("integrations", name, "AwaitingFirstSync")
    first = by_hand(one, "run-a", "a")
    one.wait_pod("run-a-1")
    by_hand(one, "run-b", "b")
    assert "maxActivePerNamespace" in queued(one, "run-b")
    assert one.get("syncjobs", "run-b")["status"]["queuePosition"] == 1
    by_hand(two, "run-a", "a")
    two.wait_pod("run-a-1")
    one.end_pod(first)
    one.wait_pod("run-b-1")
    until("it has left the queue", lambda: "queuePosition" not in one.get("syncjobs", "run-b")["status"])


def test_a_job_that_a_queue_holds_back_takes_no_slot_and_goes_on_as_the_same_attempt(
    clusters: tuple[Cluster, Cluster],
) -> None:
    cluster = clusters[0]
    for name in ("a", "b"):
        cluster.apply(integration(cluster.connectors[0], name=name, more="suspend: false"))
        cluster.wait_reason("integrations", name, "AwaitingFirstSync")
    held = by_hand(cluster, "held", "a")
    pod = cluster.wait_pod("held-1")
    cluster.pod_status(pod, {"phase": "Running", **container({"running": {"startedAt": "2026-01-01T00:00:00Z"}})})
    cluster.wait_reason("syncjobs", "held", "Running")
    # As Kueue does when it preempts a workload.
    cluster.batch.patch_namespaced_job("held-1", cluster.namespace, {"spec": {"suspend": True}})
    assert "suspended by a queue" in queued(cluster, "held")
    other = by_hand(cluster, "other", "b")
    cluster.wait_pod("other-1")
    cluster.end_pod(other)
    cluster.wait_reason("syncjobs", "other", "Completed")
    cluster.batch.patch_namespaced_job("held-1", cluster.namespace, {"spec": {"suspend": False}})

    def another() -> Any:
        selector = "batch.kubernetes.io/job-name=held-1"
        pods = cluster.core.list_namespaced_pod(cluster.namespace, label_selector=selector).items
        return [one for one in pods if one.metadata.uid != pod.metadata.uid and not one.metadata.deletion_timestamp]

    until("a new pod of the same Job", another)
    cluster.wait_reason("syncjobs", "held", "Pending")
    (fresh,) = another()
    found = cluster.get("syncjobs", "held")
    assert found["status"]["attempts"] == 1, cluster.events("held")
    assert held["metadata"]["uid"] == found["metadata"]["uid"]
    assert fresh.metadata.name.startswith("held-1")


def test_a_job_that_a_quota_refuses_is_told_and_tried_again(clusters: tuple[Cluster, Cluster]) -> None:
    cluster = clusters[1]
    quota = {"metadata": {"name": "no-jobs"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    cluster.core.create_namespaced_resource_quota(cluster.namespace, quota)
    quotas = cluster.core
    until(
        "the quota counts",
        lambda: quotas.read_namespaced_resource_quota("no-jobs", cluster.namespace).status.hard,
    )
    cluster.apply(integration(clusters[0].connectors[0], name="a", more="suspend: false"))
    cluster.wait_reason("integrations", "a", "AwaitingFirstSync")
    by_hand(cluster, "refused", "a")
    until("an event", lambda: "JobRefused" in [reason for _, reason, _ in cluster.events("refused")])
    assert "quota" in cluster.condition("syncjobs", "refused", "Succeeded")["message"]
    cluster.core.delete_namespaced_resource_quota("no-jobs", cluster.namespace)
    cluster.wait_pod("refused-1")
