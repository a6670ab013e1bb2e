"""Cancelling a SyncJob on a real API server: its pod goes, the next one may start, and it counts as no failure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.api.acme import CONNECTOR, integration, secret
from tests.api.operator_process import Cluster, OperatorProcess, container, until

pytestmark = pytest.mark.api


@pytest.fixture
def operator(control_plane: Path, cluster: Cluster, tmp_path: Path) -> Iterator[OperatorProcess]:
    options = ("--no-bundled", f"--namespace={cluster.namespace}", "--max-active-syncs=1")
    process = OperatorProcess(control_plane, tmp_path / "log", options)
    process.start()
    yield process
    process.stop_if_running()


def test_a_cancelled_sync_stops_its_pod_frees_its_slot_and_is_no_failure(
    operator: OperatorProcess, cluster: Cluster
) -> None:
    cluster.apply(CONNECTOR % (f"acme-{uuid.uuid4().hex[:6]}", ""))
    cluster.apply(secret())
    cluster.apply(integration(cluster.connectors[0]))
    name = cluster.wait_sync("acme")["metadata"]["name"]
    pod = cluster.wait_pod(f"{name}-1")
    cluster.pod_status(pod, {"phase": "Running", **container({"running": {"startedAt": "2026-01-01T00:00:00Z"}})})
    cluster.wait_reason("syncjobs", name, "Running")
    run = "apiVersion: towline.dev/v1alpha1\nkind: SyncJob\nmetadata: {name: %s}\nspec: {integrationRef: {name: acme}}"
    for other in ("second", "third"):
        cluster.apply(run % other)
        cluster.wait_reason("syncjobs", other, "Queued")
    cluster.patch("syncjobs", "second", {"metadata": {"annotations": {"towline.dev/cancel": "true"}}})
    cluster.wait_reason("syncjobs", "second", "Cancelled")
    cluster.patch("syncjobs", name, {"metadata": {"annotations": {"towline.dev/cancel": "true"}}})
    cluster.wait_reason("syncjobs", name, "Cancelled")
    cluster.wait_pod("third-1")
    until("its Job is gone", lambda: f"{name}-1" not in [job.metadata.name for job in cluster.jobs()])
    until("it is told", lambda: "SyncCancelled" in [reason for _, reason, _ in cluster.events(name)])
    assert not cluster.get("integrations", "acme")["status"].get("consecutiveFailures")
